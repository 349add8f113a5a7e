/*
 * texts.c - see texts.h.
 */
#include "texts.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"

struct name {
    uint64_t address;
    char text[];
};

struct cause {
    uint64_t address;
    canopy_cause cause;
};

/* Of both, which begin with it. */
static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

void texts_free(struct texts *texts)
{
    tdestroy(texts->names, free);
    tdestroy(texts->causes, free);
}

/* What was read becomes the tree's. NULL: no memory. */
static const void *keep(void **tree, void *read)
{
    void **place = read ? tsearch(read, tree, compare) : NULL;
    if (!place) {
        free(read);
        return NULL;
    }
    *place = read; /* as is already: that the tree keeps it, tsearch's type does not tell */
    return read;
}

static const struct name *name_read(struct texts *texts, uint64_t address)
{
    char text[REMOTE_TEXT_BYTES + 1];
    if (!remote_text(texts->remote, address, text))
        text[0] = '\0';
    size_t bytes = strlen(text) + 1;
    struct name *name = malloc(sizeof *name + bytes);
    if (name) {
        name->address = address;
        memcpy(name->text, text, bytes);
    }
    return keep(&texts->names, name);
}

const char *texts_name(struct texts *texts, uint64_t address)
{
    if (!address)
        return NULL;
    struct name *const *known = tfind(&address, &texts->names, compare);
    const struct name *name = known ? *known : name_read(texts, address);
    return name ? name->text : NULL;
}

canopy_cause texts_cause_anew(struct texts *texts, uint64_t address)
{
    unsigned char bytes[LAYOUT_READ_BYTES];
    canopy_cause cause = {0};
    if (remote_read(texts->remote, address, bytes, texts->layout->cause_bytes)) {
        cause.code = (int)half_at(bytes, texts->layout->cause_code);
        cause.text = texts_name(texts, word_at(bytes, texts->layout->cause_text));
    }
    return cause;
}

static const struct cause *cause_read(struct texts *texts, uint64_t address)
{
    struct cause *cause = malloc(sizeof *cause);
    if (cause)
        *cause = (struct cause){address, texts_cause_anew(texts, address)};
    return keep(&texts->causes, cause);
}

canopy_cause texts_cause(struct texts *texts, uint64_t address)
{
    struct cause *const *known = tfind(&address, &texts->causes, compare);
    const struct cause *cause = known ? *known : cause_read(texts, address);
    return cause ? cause->cause : (canopy_cause){0};
}
