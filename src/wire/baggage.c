/*
 * baggage.c - the W3C's Baggage: members, their values, and a layer with one set.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "wire/list.h"

/* Of HTTP's tokens (RFC 9110, 5.6.2), and of the values of baggage. */
static const struct octets token_octets = {
    {OCTETS('!', '!') | OCTETS('#', '\'') | OCTETS('*', '+') | OCTETS('-', '.') | OCTETS('0', '9'),
     OCTETS('A', 'Z') | OCTETS('^', 'z') | OCTETS('|', '|') | OCTETS('~', '~')}};
static const struct octets value_octets = {
    {OCTETS('!', '!') | OCTETS('#', '+') | OCTETS('-', ':') | OCTETS('<', '?'),
     OCTETS('@', '[') | OCTETS(']', '~')}};
/* Those that stand for themselves. */
static const struct octets plain_octets = {
    {OCTETS('!', '!') | OCTETS('#', '$') | OCTETS('&', '+') | OCTETS('-', ':') | OCTETS('<', '?'),
     OCTETS('@', '[') | OCTETS(']', '~')}};

/* ------------------------------------------------------------------- the grammar */

/* Takes the octets of the set that the rest begins with, and the space behind them. */
static struct text take(struct text *rest, const struct octets *set)
{
    struct text taken = {rest->at, octets_span(set, *rest)};
    *rest = text_trimmed(rest->at + taken.bytes, rest->bytes - taken.bytes);
    return taken;
}

/* Takes this one octet and the space behind it, if it comes next. */
static bool take_octet(struct text *rest, char octet)
{
    if (rest->bytes == 0 || *rest->at != octet)
        return false;
    *rest = text_trimmed(rest->at + 1, rest->bytes - 1);
    return true;
}

/* Properties, a ';' between them: a key, or a key and a value. */
static bool properties_are_well_formed(struct text rest)
{
    do {
        if (take(&rest, &token_octets).bytes == 0)
            return false;
        if (take_octet(&rest, '='))
            take(&rest, &value_octets);
    } while (take_octet(&rest, ';'));
    return rest.bytes == 0;
}

bool baggage_member_read(struct text item, canopy_baggage_member *member)
{
    struct text rest = item, key = take(&rest, &token_octets);
    if (key.bytes == 0 || !take_octet(&rest, '='))
        return false;
    struct text value = take(&rest, &value_octets);
    bool has_properties = take_octet(&rest, ';');
    if (has_properties ? !properties_are_well_formed(rest) : rest.bytes > 0)
        return false;
    if (member)
        *member = (canopy_baggage_member){key.at,    value.at,    has_properties ? rest.at : NULL,
                                          key.bytes, value.bytes, has_properties ? rest.bytes : 0};
    return true;
}

int canopy_baggage_next(const char *baggage, size_t bytes, size_t *at,
                        canopy_baggage_member *member)
{
    struct text item;
    while (list_next((struct text){baggage, bytes}, at, &item))
        if (item.bytes > 0)
            return baggage_member_read(item, member) ? 1 : -EINVAL;
    return 0;
}

/* --------------------------------------------------------------- percent-decoding */

static int hex_read(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The octet that comes next, decoded and taken; -1: none, or a malformed one, and not taken. */
static int octet_next(struct text *rest)
{
    if (rest->bytes == 0 || !octets_have(&value_octets, *rest->at))
        return -1;
    size_t bytes = *rest->at == '%' ? 3 : 1;
    int octet = (unsigned char)*rest->at;
    if (bytes == 3) {
        int high = rest->bytes < 3 ? -1 : hex_read(rest->at[1]);
        int low = rest->bytes < 3 ? -1 : hex_read(rest->at[2]);
        if (high < 0 || low < 0)
            return -1;
        octet = high * 16 + low;
    }
    *rest = (struct text){rest->at + bytes, rest->bytes - bytes};
    return octet;
}

/* How many octets follow one in UTF-8, and the range of the first of those; -1: it is none. */
static int utf8_follows(int lead, int *least, int *most)
{
    *least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    *most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (lead < 0x80)
        return 0;
    if (lead < 0xc2 || lead > 0xf4)
        return -1;
    return lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
}

/*
 * The character that comes next, in UTF-8; how many bytes, or -1 where it is malformed. As
 * much as could begin a character and does not go on as one is U+FFFD, once.
 */
static int character_next(struct text *rest, char out[4])
{
    static const char replacement[] = {'\xef', '\xbf', '\xbd'};
    int least, most, bytes = 1, lead = octet_next(rest);
    if (lead < 0)
        return -1;
    int follows = utf8_follows(lead, &least, &most);
    out[0] = (char)lead;
    for (; bytes <= follows; bytes++) {
        struct text behind = *rest;
        int octet = octet_next(&behind);
        if (octet < least || octet > most)
            break;
        out[bytes] = (char)octet;
        *rest = behind;
        least = 0x80;
        most = 0xbf;
    }
    if (bytes == follows + 1)
        return bytes;
    memcpy(out, replacement, sizeof replacement);
    return sizeof replacement;
}

int canopy_baggage_decode(const char *value, size_t bytes, char *out, size_t room)
{
    struct text rest = {value, value ? bytes : 0};
    size_t needed = 0;
    if (rest.bytes > INT_MAX)
        return -E2BIG;
    while (rest.bytes > 0) {
        char character[4];
        int result = character_next(&rest, character);
        if (result < 0)
            return -EILSEQ;
        size_t count = (size_t)result;
        if (count <= room)
            memcpy(out + needed, character, count);
        room = count <= room ? room - count : 0; /* nothing behind what found none */
        needed += count;
    }
    return (int)needed;
}

int canopy_baggage_encode(const char *value, size_t bytes, char *out, size_t room)
{
    return percent_encode((struct text){value, value ? bytes : 0}, &plain_octets, out, room);
}

/* ----------------------------------------------------------------------- a layer */

const char *canopy_baggage_of(const canopy_ctx *ctx, size_t *bytes)
{
    const struct carried *carried = carried_by(ctx);
    *bytes = carried ? carried->baggage.bytes : 0;
    return *bytes ? carried->baggage.at : NULL;
}

/* What is set; the value is not encoded yet. */
struct setting {
    struct text key, value, properties;
    bool is_removal;
};

/* The bytes that it has as a member; or 0, and errno. */
static size_t setting_bytes(const struct setting *set)
{
    size_t most = CANOPY_BAGGAGE_BYTES, bytes = most + 1;
    bool is_token = octets_span(&token_octets, set->key) == set->key.bytes;
    if (set->key.bytes == 0 || !is_token ||
        (set->properties.bytes > 0 && !properties_are_well_formed(set->properties))) {
        errno = EINVAL;
        return 0;
    }
    if (set->key.bytes <= most && set->value.bytes <= most && set->properties.bytes <= most)
        bytes = set->key.bytes + 1 + (size_t)percent_encode(set->value, &plain_octets, NULL, 0) +
                (set->properties.bytes > 0 ? 1 + set->properties.bytes : 0);
    if (bytes <= most)
        return bytes;
    errno = E2BIG;
    return 0;
}

static void put(struct text *list, const char *at, size_t bytes, char *room)
{
    if (list->bytes > 0)
        room[list->bytes++] = ',';
    memcpy(room + list->bytes, at, bytes);
    list->bytes += bytes;
}

/* Those of the list that have another key; how many. */
static size_t put_others(struct text *list, struct text old, struct text key, char *room)
{
    struct text item;
    canopy_baggage_member member;
    size_t at = 0, count = 0;
    while (list_next(old, &at, &item)) {
        if (!baggage_member_read(item, &member))
            continue;
        if (member.key_bytes == key.bytes && memcmp(member.key, key.at, key.bytes) == 0)
            continue;
        put(list, item.at, item.bytes, room);
        count++;
    }
    return count;
}

static void put_setting(struct text *list, const struct setting *set, size_t bytes, char *room)
{
    put(list, set->key.at, set->key.bytes, room);
    room[list->bytes++] = '=';
    list->bytes += (size_t)percent_encode(set->value, &plain_octets, room + list->bytes, bytes);
    if (set->properties.bytes > 0) {
        room[list->bytes++] = ';';
        memcpy(room + list->bytes, set->properties.at, set->properties.bytes);
        list->bytes += set->properties.bytes;
    }
}

static canopy_ctx *with_setting(const canopy_ctx *parent, const struct setting *set)
{
    size_t bytes = setting_bytes(set);
    if (bytes == 0)
        return NULL;
    const struct carried *above = carried_by(parent);
    struct carried *carried = carried_new(parent, (above ? above->baggage.bytes + 1 : 0) + bytes);
    if (!carried)
        return NULL;
    struct text list = {carried->bytes, 0};
    size_t count = put_others(&list, carried->baggage, set->key, carried->bytes);
    if (!set->is_removal) {
        put_setting(&list, set, bytes, carried->bytes);
        count++;
    }
    if (count > CANOPY_BAGGAGE_MEMBERS || list.bytes > CANOPY_BAGGAGE_BYTES) {
        free(carried);
        errno = E2BIG;
        return NULL;
    }
    carried->baggage = list;
    return carried_bind(parent, carried);
}

canopy_ctx *canopy_with_baggage(const canopy_ctx *parent, const char *key, size_t key_bytes,
                                const char *value, size_t value_bytes, const char *properties,
                                size_t properties_bytes)
{
    struct setting set = {.key = {key, key ? key_bytes : 0},
                          .value = {value, value ? value_bytes : 0},
                          .properties = text_trimmed(properties, properties_bytes),
                          .is_removal = !value};
    if (parent)
        return with_setting(parent, &set);
    errno = EINVAL;
    return NULL;
}
