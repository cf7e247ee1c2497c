/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/encode.h"

#include <criterion/criterion.h>

Test(encode, only_printable_ascii_stays_as_it_is) {
    char room[64];
    cr_assert(percent_encode("100 % sold out, b\xc3\xbc\n~", room, sizeof room));
    cr_assert_str_eq(room, "100 %25 sold out, b%C3%BC%0A~");
    cr_assert(percent_encode("", room, sizeof room));
    cr_assert_str_eq(room, "");
}

Test(encode, text_that_is_too_long_is_cut_between_characters) {
    char room[8];
    cr_assert_not(percent_encode("\n\n\n", room, sizeof room));
    cr_assert_str_eq(room, "%0A%0A");
}

Test(encode, base64_has_no_padding) {
    char room[BASE64_SIZE(5)];
    static const char *const wanted[] = {"", "AQ", "AQI", "AQID", "AQIDBA", "AQIDBAU"};
    for (size_t len = 0; len <= 5; len++) {
        base64_encode((const uint8_t *)"\1\2\3\4\5", len, room);
        cr_assert_str_eq(room, wanted[len]);
    }
}
