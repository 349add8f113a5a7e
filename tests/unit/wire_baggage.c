/*
 * wire_baggage.c - the W3C's Baggage: members, their values in and out of percent-encoding,
 * and layers on which one is set.
 */
#include "wired.h"

/* ------------------------------------------------------------------------ members */

/* Each member as "key|value|properties", "!" for a malformed one, a space between them. */
static void assert_members(const char *baggage, size_t bytes, const char *expected)
{
    char *alone = wired_alone(baggage, bytes), told[512] = "";
    size_t at = 0, room = sizeof told;
    canopy_baggage_member m;
    for (int result; (result = canopy_baggage_next(alone, bytes, &at, &m)) != 0;) {
        char *end = told + strlen(told);
        room = sizeof told - strlen(told);
        if (result < 0)
            snprintf(end, room, "%s!", end == told ? "" : " ");
        else
            snprintf(end, room, "%s%.*s|%.*s|%.*s", end == told ? "" : " ", (int)m.key_bytes, m.key,
                     (int)m.value_bytes, m.value, (int)m.properties_bytes,
                     m.properties ? m.properties : "");
        assert_true(result == 1 || result == -EINVAL);
        assert_true(at <= bytes);
    }
    assert_int_equal(canopy_baggage_next(alone, bytes, &at, &m), 0);
    free(alone);
    assert_string_equal(told, expected);
}

TEST(wire_baggage_is_members_between_commas)
{
    assert_members(VALUE("userId=alice,serverNode=DF%2028,isProduction=false"),
                   "userId|alice| serverNode|DF%2028| isProduction|false|");
    assert_members(VALUE(" a = 1 \t,\tb=2"), "a|1| b|2|");
    assert_members(VALUE("a="), "a||");
    assert_members(VALUE("a=b=c=="), "a|b=c==|");
    assert_members(VALUE("a=1,a=2"), "a|1| a|2|");
    assert_members(VALUE("!#$%&'*+-.^_`|~09AZaz=!#$%&'()*+-./:<=>?@[]^_`{|}~"),
                   "!#$%&'*+-.^_`|~09AZaz|!#$%&'()*+-./:<=>?@[]^_`{|}~|");
    assert_members(VALUE(""), "");
    assert_members(NULL, 0, "");
    assert_members(VALUE(" ,, \t, "), "");
    assert_members(VALUE(",a=1,,b=2,"), "a|1| b|2|");
}

TEST(wire_baggage_has_properties_behind_its_values)
{
    assert_members(VALUE("k=v;p"), "k|v|p");
    assert_members(VALUE("k=v ; p = q ; r;s=,l=w"), "k|v|p = q ; r;s= l|w|");
    assert_members(VALUE("k=;p"), "k||p");
    assert_members(VALUE("k=v;p==;q"), "k|v|p==;q");
}

TEST(wire_baggage_that_is_malformed_is_told_and_the_rest_goes_on)
{
    assert_members(VALUE("a"), "!");
    assert_members(VALUE("=a"), "!");
    assert_members(VALUE("a=1,b,c=3"), "a|1| ! c|3|");
    assert_members(VALUE("a b=1,c=3"), "! c|3|");
    assert_members(VALUE("a=1 2,c=3"), "! c|3|");
    assert_members(VALUE("a=\"1\",c=3"), "! c|3|");
    assert_members(VALUE("a=\\,c=3"), "! c|3|");
    assert_members(VALUE("a=1;,c=3"), "! c|3|");
    assert_members(VALUE("a=1;;p,c=3"), "! c|3|");
    assert_members(VALUE("a=1;=p,c=3"), "! c|3|");
    assert_members(VALUE("a=1;p q,c=3"), "! c|3|");
    assert_members(VALUE("a=1;p=\x7f,c=3"), "! c|3|");
    assert_members(VALUE("a=caf\xc3\xa9,c=3"), "! c|3|");
    assert_members(VALUE("a=1\r\nx: y,c=3"), "! c|3|");
    assert_members(VALUE("a=1\0,c=3"), "! c|3|");
    assert_members(VALUE("(a)=1,c=3"), "! c|3|");
}

/* ------------------------------------------------------------------------- values */

static void assert_decoded(const char *value, size_t bytes, const char *decoded, size_t count)
{
    char *alone = wired_alone(value, bytes), *out = malloc(bytes + 1);
    assert_non_null(out);
    assert_int_equal(canopy_baggage_decode(alone, bytes, out, bytes), count);
    assert_memory_equal(out, decoded, count);
    free(out);
    free(alone);
}

TEST(wire_values_are_decoded)
{
    assert_decoded(VALUE(""), VALUE(""));
    assert_decoded(VALUE("a+b"), VALUE("a+b"));
    assert_decoded(VALUE("a%20b%2C%3b%2f"), VALUE("a b,;/"));
    assert_decoded(VALUE("%00%0d%0A"), VALUE("\0\r\n"));
    assert_decoded(VALUE("Am%C3%A9lie"), VALUE("Am\xc3\xa9lie"));
    assert_decoded(VALUE("%E2%82%AC%F0%9F%8C%8D"), VALUE("\xe2\x82\xac\xf0\x9f\x8c\x8d"));
    assert_decoded(VALUE("%F4%8F%BF%BF%ED%9F%BF"), VALUE("\xf4\x8f\xbf\xbf\xed\x9f\xbf"));
}

/* The groups are those of Unicode's "substitution of maximal subparts". */
TEST(wire_values_that_are_no_utf_8_have_replacements)
{
#define FFFD "\xef\xbf\xbd"
    assert_decoded(VALUE("%FF"), VALUE(FFFD));
    assert_decoded(VALUE("a%80b"), VALUE("a" FFFD "b"));
    assert_decoded(VALUE("%C3"), VALUE(FFFD));
    assert_decoded(VALUE("%C3x"), VALUE(FFFD "x"));
    assert_decoded(VALUE("%E2%82"), VALUE(FFFD));
    assert_decoded(VALUE("%E2%82%C3%A9"), VALUE(FFFD "\xc3\xa9"));
    assert_decoded(VALUE("%C0%AF"), VALUE(FFFD FFFD));
    assert_decoded(VALUE("%E0%80%AF"), VALUE(FFFD FFFD FFFD));
    assert_decoded(VALUE("%ED%A0%80"), VALUE(FFFD FFFD FFFD));
    assert_decoded(VALUE("%F0%80%80%AF"), VALUE(FFFD FFFD FFFD FFFD));
    assert_decoded(VALUE("%F4%90%80%80"), VALUE(FFFD FFFD FFFD FFFD));
    assert_decoded(VALUE("%F0%9F%8C"), VALUE(FFFD));
    assert_decoded(VALUE("%F5%80"), VALUE(FFFD FFFD));
}

TEST(wire_values_that_cannot_be_decoded_say_so)
{
    char out[16];
    assert_int_equal(canopy_baggage_decode(VALUE("%zz"), out, sizeof out), -EILSEQ);
    assert_int_equal(canopy_baggage_decode(VALUE("a%"), out, sizeof out), -EILSEQ);
    assert_int_equal(canopy_baggage_decode(VALUE("a%4"), out, sizeof out), -EILSEQ);
    assert_int_equal(canopy_baggage_decode(VALUE("%C3%"), out, sizeof out), -EILSEQ);
    assert_int_equal(canopy_baggage_decode(VALUE("%4g"), out, sizeof out), -EILSEQ);
    assert_int_equal(canopy_baggage_decode(VALUE("a b"), out, sizeof out), -EILSEQ);
    assert_int_equal(canopy_baggage_decode(VALUE("caf\xc3\xa9"), out, sizeof out), -EILSEQ);
    assert_int_equal(canopy_baggage_decode("", (size_t)INT32_MAX + 1, NULL, 0), -E2BIG);
    assert_int_equal(canopy_baggage_encode("", (size_t)INT32_MAX, NULL, 0), -E2BIG);
}

TEST(wire_values_that_have_no_room_are_cut_between_characters)
{
    char out[8] = "########";
    assert_int_equal(canopy_baggage_decode(VALUE("a%E2%82%ACb"), out, 3), 5);
    assert_memory_equal(out, "a#######", 8);
    assert_int_equal(canopy_baggage_decode(VALUE("a%E2%82%ACb"), out, 4), 5);
    assert_memory_equal(out, "a\xe2\x82\xac####", 8);
    assert_int_equal(canopy_baggage_encode(VALUE("a,b"), out, 3), 5);
    assert_memory_equal(out, "a", 1);
    assert_int_equal(canopy_baggage_encode(VALUE("a,b"), NULL, 0), 5);
}

static void value_round_trip(void)
{
    char value[40], encoded[3 * sizeof value], decoded[sizeof encoded];
    size_t bytes = wired_below(sizeof value + 1);
    for (size_t i = 0; i < bytes; i++)
        value[i] = (char)wired_below(128);
    int count = canopy_baggage_encode(value, bytes, encoded, sizeof encoded);
    assert_in_range(count, bytes, 3 * bytes);
    assert_int_equal(canopy_baggage_decode(encoded, (size_t)count, decoded, sizeof decoded), bytes);
    assert_memory_equal(decoded, value, bytes);
    char member[sizeof encoded + 2] = "k=";
    memcpy(member + 2, encoded, (size_t)count);
    canopy_baggage_member read;
    size_t at = 0;
    assert_int_equal(canopy_baggage_next(member, (size_t)count + 2, &at, &read), 1);
    assert_int_equal(read.value_bytes, count);
}

/* Any bytes: what is decoded is no longer, and comes back as itself once it is UTF-8. */
static void any_value(void)
{
    static const char often[] = "%%%%CcEeFf89aAbB0";
    char value[24], once[24], again[3 * sizeof once], twice[sizeof again];
    size_t bytes = wired_below(sizeof value + 1);
    for (size_t i = 0; i < bytes; i++)
        value[i] = wired_octet(often, 50);
    int count = canopy_baggage_decode(value, bytes, once, sizeof once);
    if (count == -EILSEQ)
        return;
    assert_in_range(count, 0, bytes);
    int encoded = canopy_baggage_encode(once, (size_t)count, again, sizeof again);
    assert_int_equal(canopy_baggage_decode(again, (size_t)encoded, twice, sizeof twice), count);
    assert_memory_equal(once, twice, (size_t)count);
}

TEST(wire_values_come_back_as_they_were)
{
    wired_both_seeds(value_round_trip, SCALED(100000, 10000));
    wired_both_seeds(any_value, SCALED(300000, 30000));
}

/* ------------------------------------------------------------------------- layers */

static void assert_baggage(const canopy_ctx *ctx, const char *expected)
{
    size_t bytes = 77;
    const char *baggage = canopy_baggage_of(ctx, &bytes);
    assert_int_equal(bytes, strlen(expected));
    if (bytes)
        assert_memory_equal(baggage, expected, bytes);
    else
        assert_null(baggage);
}

static canopy_ctx *set(const canopy_ctx *parent, const char *key, const char *value,
                       const char *properties)
{
    return canopy_with_baggage(parent, key, strlen(key), value, value ? strlen(value) : 0,
                               properties, properties ? strlen(properties) : 0);
}

TEST(wire_baggage_that_is_set_takes_the_place_of_its_key)
{
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    canopy_ctx *one = set(top, "a", "1 2", NULL);
    canopy_ctx *two = set(one, "b", "", "p; q=r ");
    canopy_ctx *three = set(two, "a", "3", NULL);
    canopy_ctx *four = set(three, "b", NULL, NULL);
    canopy_ctx *five = set(four, "a", NULL, NULL);
    assert_baggage(top, "");
    assert_baggage(one, "a=1%202");
    assert_baggage(two, "a=1%202,b=;p; q=r");
    assert_baggage(three, "b=;p; q=r,a=3");
    assert_baggage(four, "a=3");
    assert_baggage(five, "");
    canopy_ctx *below = canopy_with_cancel(three);
    assert_baggage(below, "b=;p; q=r,a=3");
    assert_false(canopy_cancel(three)); /* a layer */
    assert_true(canopy_cancel(top));
    assert_true(canopy_done(below));
    canopy_ctx *all[] = {below, one, two, three, four, five, top};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        canopy_release(all[i]);
}

static void assert_not_set(const canopy_ctx *parent, const char *key, const char *value,
                           const char *properties, int err)
{
    errno = 0;
    assert_null(set(parent, key, value, properties));
    assert_int_equal(errno, err);
}

TEST(wire_baggage_that_is_malformed_is_not_set)
{
    canopy_ctx *top = canopy_with_cancel(canopy_background());
    assert_not_set(NULL, "a", "1", NULL, EINVAL);
    assert_not_set(top, "", "1", NULL, EINVAL);
    assert_not_set(top, "a b", "1", NULL, EINVAL);
    assert_not_set(top, "a=", "1", NULL, EINVAL);
    assert_not_set(top, "a", "1", "p,q=1", EINVAL);
    assert_not_set(top, "a", "1", "p;", EINVAL);
    assert_not_set(top, "a", "1", "p\r\nx", EINVAL);
    errno = 0;
    assert_null(canopy_with_baggage(top, NULL, 1, "1", 1, NULL, 0));
    assert_int_equal(errno, EINVAL);
    canopy_end(top);
}

TEST(wire_baggage_that_is_set_keeps_to_the_limits)
{
    static char value[CANOPY_BAGGAGE_BYTES];
    memset(value, 'x', sizeof value - 1);
    assert_not_set(canopy_background(), "k", value, NULL, E2BIG); /* one too long */
    value[CANOPY_BAGGAGE_BYTES - 2] = 0;
    canopy_ctx *full = set(canopy_background(), "k", value, NULL);
    assert_non_null(full);
    assert_not_set(full, "l", "", NULL, E2BIG);
    canopy_ctx *other = set(full, "k", "1", NULL);
    assert_baggage(other, "k=1");
    canopy_end(other);
    canopy_end(full);
    canopy_ctx *ctx = canopy_with_cancel(canopy_background());
    for (unsigned i = 0; i < CANOPY_BAGGAGE_MEMBERS; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%u", i);
        canopy_ctx *next = set(ctx, key, "1", NULL);
        assert_non_null(next);
        canopy_release(ctx);
        ctx = next;
    }
    assert_not_set(ctx, "one_more", "1", NULL, E2BIG);
    canopy_ctx *same = set(ctx, "k0", "2", NULL);
    assert_non_null(same);
    canopy_end(same);
    canopy_end(ctx);
}

TEST(wire_baggage_that_finds_no_memory_for_its_layer_leaves_nothing)
{
    canopy_ctx *root =
        canopy_root_new(&(canopy_config){.size = sizeof(canopy_config), .max_live = 1});
    canopy_ctx *only = canopy_with_cancel(root);
    assert_not_set(only, "a", "1", NULL, EAGAIN);
    canopy_end(only);
    assert_int_equal(canopy_wait_idle(root, now_ns() + SOON), 0);
    assert_true(eventually(canopy_root_free(root) == 0, SOON));
}
