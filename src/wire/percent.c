/*
 * percent.c - percent-encoding, as baggage and grpc-message have it.
 */
#include <errno.h>
#include <limits.h>

#include "wire/text.h"

/* One octet as it is written, if there is room for it; how many bytes. */
static size_t escape(char c, const struct octets *plain, char *out, size_t room)
{
    static const char hex[] = "0123456789ABCDEF";
    if (octets_have(plain, c)) {
        if (room >= 1)
            out[0] = c;
        return 1;
    }
    if (room >= 3) {
        out[0] = '%';
        out[1] = hex[(unsigned char)c >> 4];
        out[2] = hex[(unsigned char)c & 15];
    }
    return 3;
}

int percent_encode(struct text text, const struct octets *plain, char *out, size_t room)
{
    if (text.bytes > INT_MAX / 3)
        return -E2BIG;
    size_t needed = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        size_t bytes = escape(text.at[i], plain, room > 0 ? out + needed : NULL, room);
        room = bytes <= room ? room - bytes : 0; /* nothing behind what found none */
        needed += bytes;
    }
    return (int)needed;
}
