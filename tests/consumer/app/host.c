/*
 * host.c - loads a plugin, has it run on a thread, unloads it before that thread and
 * the plugin's last context end, and loads it again. Exits with 0 if it lives to.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>

typedef void *plugin_fn(void (*ended)(void *));

#define ROUNDS 5
static plugin_fn *plugin_run;
static void *records[ROUNDS];
static sem_t ran, unloaded, ended;

static void on_end(void *arg)
{
    (void)arg;
    sem_post(&ended);
}

static void *user(void *record)
{
    *(void **)record = plugin_run(on_end);
    sem_post(&ran);
    sem_wait(&unloaded);
    return NULL;
}

static int round_of(const char *path, void **record)
{
    pthread_t thread;
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin)
        *(void **)&plugin_run = dlsym(plugin, "plugin_run");
    if (!plugin || !plugin_run || pthread_create(&thread, NULL, user, record) != 0) {
        printf("%s does not load: %s\n", path, dlerror());
        return 1;
    }
    sem_wait(&ran);
    if (dlclose(plugin) != 0)
        return 1;
    sem_post(&unloaded);
    pthread_join(thread, NULL);
    sem_wait(&ended);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2 || sem_init(&ran, 0, 0) || sem_init(&unloaded, 0, 0) || sem_init(&ended, 0, 0))
        return 2;
    for (int i = 0; i < ROUNDS; i++)
        if (round_of(argv[1], &records[i]) != 0)
            return 1;
    return 0;
}
