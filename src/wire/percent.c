/*
 * percent.c - percent-encoding, as baggage and grpc-message have it.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "wire/text.h"

/* One octet as it is written; how many bytes. */
static size_t escape(char c, const struct octets *plain, char out[3])
{
    static const char hex[] = "0123456789ABCDEF";
    out[0] = c;
    if (octets_have(plain, c))
        return 1;
    out[0] = '%';
    out[1] = hex[(unsigned char)c >> 4];
    out[2] = hex[(unsigned char)c & 15];
    return 3;
}

int percent_encode(struct text text, const struct octets *plain, char *out, size_t room)
{
    if (text.bytes > INT_MAX / 3)
        return -E2BIG;
    size_t needed = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        char escaped[3];
        size_t bytes = escape(text.at[i], plain, escaped);
        if (bytes <= room)
            memcpy(out + needed, escaped, bytes);
        room = bytes <= room ? room - bytes : 0; /* nothing behind what found none */
        needed += bytes;
    }
    return (int)needed;
}
