/* SPDX-License-Identifier: Apache-2.0 */
/* What the doorstep does with clients whose bytes a test writes itself. */
#include <string.h>

#include "doorstep_bed.h"
#include "edge/doorstep/hpack.h"

Test(doorstep, closed_door_answers_nothing) {
    bed_open_door();
    doorstep_forget(BED_PORT);
    cr_assert_null(doorstep_new(BED_PORT, NULL));
}

/* A proxy sends the calls of many users on one connection. One of them is slow. */
Test(doorstep, whole_call_does_not_wait_for_a_request_before_it) {
    struct bed *bed = bed_new();
    put_headers(&bed->out, 1, BED_PATH);
    cr_assert(bed_sends(bed));
    put_headers(&bed->out, 3, "/coupon.v1.CouponService/GetStatus");
    put_request(&bed->out, 3, 1);
    cr_assert(bed_sends(bed));
    cr_assert(core_has(bed, TYPE_HEADERS, 3) && core_has(bed, TYPE_DATA, 3), "the call of stream 3 waits");
    put_request(&bed->out, 1, 2);
    cr_assert(bed_sends(bed));
    cr_assert(core_has(bed, TYPE_HEADERS, 1) && core_has(bed, TYPE_DATA, 1));
    bed_free(bed);
}

/* A field of three bytes has its name from an entry of 4 KB that the core has not: written anew, it takes 4 KB. */
Test(doorstep, client_whose_blocks_grow_too_much_when_written_anew_is_cut_off) {
    struct bed *bed = bed_new();
    uint8_t block[4500];
    char name[3900];
    memset(name, 'n', sizeof name);
    uint8_t *end = put_call(block, block + sizeof block, false, BED_PATH);
    end = hpack_put_literal(end, block + sizeof block, true, (struct hpack_text){name, sizeof name},
                            (struct hpack_text){"", 0});
    put_frame(&bed->out, TYPE_HEADERS, FLAG_END_HEADERS, 1, block, (size_t)(end - block));
    put_request(&bed->out, 1, 2);
    cr_assert(bed_sends(bed));
    cr_assert_not(core_has(bed, TYPE_HEADERS, 1), "the core has the name");
    static const uint8_t field[] = {0x0f, 0x2f, 0x00}; /* the name of the newest entry, without a value */
    for (size_t i = 0; i < 20; i++)
        memcpy(block + sizeof field * i, field, sizeof field);
    for (uint32_t stream = 3; stream < 203; stream += 2)
        put_frame(&bed->out, TYPE_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, stream, block, 20 * sizeof field);
    cr_assert_not(bed_sends(bed));
    bed_free(bed);
}

Test(doorstep, reset_of_an_answered_stream_that_is_too_large_goes_to_the_core) {
    struct bed *bed = bed_new();
    uint8_t header[HEADER_LEN];
    put_headers(&bed->out, 1, BED_PATH);
    put_request(&bed->out, 1, 2);
    put_frame_header(header, 20000, TYPE_RST_STREAM, 0, 1);
    put(&bed->out, header, sizeof header);
    cr_assert(bed_sends(bed));
    cr_assert(core_has(bed, TYPE_RST_STREAM, 1));
    bed_free(bed);
}

Test(doorstep, empty_block_passes_although_the_tables_differ) {
    struct bed *bed = bed_new();
    uint8_t block[512];
    size_t len = (size_t)(put_call(block, block + sizeof block, true, BED_PATH) - block);
    put_frame(&bed->out, TYPE_HEADERS, FLAG_END_HEADERS, 1, block, len);
    put_request(&bed->out, 1, 2);
    put_frame(&bed->out, TYPE_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 3, "", 0);
    cr_assert(bed_sends(bed));
    cr_assert_not(core_has(bed, TYPE_HEADERS, 1), "the tables are the same");
    cr_assert(core_has(bed, TYPE_HEADERS, 3));
    bed_free(bed);
}
