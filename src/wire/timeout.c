/*
 * timeout.c - what is left of a deadline, as a header's value.
 */
#include <canopy/wire.h>
#include <errno.h>

#include "wire/text.h"

#define GRPC_DIGITS 8
#define GRPC_MOST   INT64_C(99999999)
#define MS_NS       INT64_C(1000000)
#define MS_MOST     INT64_C(9999999999)

/* Finest first. */
static const struct unit {
    char letter;
    int64_t ns;
} units[] = {{'n', 1},
             {'u', 1000},
             {'m', MS_NS},
             {'S', MS_NS * 1000},
             {'M', MS_NS * 1000 * 60},
             {'H', MS_NS * 1000 * 3600}};
static const size_t unit_count = sizeof units / sizeof *units;

static int64_t unit_ns(char letter)
{
    for (size_t i = 0; i < unit_count; i++)
        if (units[i].letter == letter)
            return units[i].ns;
    return 0;
}

int canopy_grpc_timeout_parse(const char *value, size_t bytes, int64_t *timeout_ns)
{
    struct text text = text_trimmed(value, bytes);
    if (text.bytes < 2 || text.bytes > GRPC_DIGITS + 1)
        return -EINVAL;
    int64_t ns = unit_ns(text.at[text.bytes - 1]);
    int64_t count = digits_read((struct text){text.at, text.bytes - 1});
    if (ns == 0 || count < 0)
        return -EINVAL;
    if (__builtin_mul_overflow(count, ns, timeout_ns))
        *timeout_ns = CANOPY_NEVER;
    return 0;
}

int canopy_grpc_timeout_format(int64_t timeout_ns, char out[CANOPY_TIMEOUT_BYTES])
{
    if (timeout_ns <= 0)
        return -ETIMEDOUT;
    if (timeout_ns == CANOPY_NEVER)
        return -ENOENT;
    const struct unit *unit = units;
    while (timeout_ns / unit->ns > GRPC_MOST) /* of hours there are fewer */
        unit++;
    int digits = digits_write((uint64_t)(timeout_ns / unit->ns), out);
    out[digits] = unit->letter;
    return digits + 1;
}

int canopy_ms_timeout_parse(const char *value, size_t bytes, int64_t *timeout_ns)
{
    int64_t count = digits_read(text_trimmed(value, bytes));
    if (count < 0)
        return -EINVAL;
    *timeout_ns = count * MS_NS;
    return 0;
}

int canopy_ms_timeout_format(int64_t timeout_ns, char out[CANOPY_TIMEOUT_BYTES])
{
    if (timeout_ns < MS_NS)
        return -ETIMEDOUT;
    if (timeout_ns == CANOPY_NEVER)
        return -ENOENT;
    int64_t count = timeout_ns / MS_NS;
    return digits_write((uint64_t)(count < MS_MOST ? count : MS_MOST), out);
}
