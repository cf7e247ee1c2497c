/* SPDX-License-Identifier: Apache-2.0 */
/* example HOST:PORT COUPON USER: requests a coupon for a user.
 *
 *   cc example.c $(pkg-config --cflags --libs couponsd-client) -o example */
#include <coupons.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    struct coupons_client *client;
    struct err err;
    if (argc != 4 || !coupons_client_new(argv[1], &client, &err)) {
        fprintf(stderr, "%s\n", argc == 4 ? err.text : "usage: example HOST:PORT COUPON USER");
        return 2;
    }
    char request_id[COUPONS_REQUEST_ID_SIZE];
    coupons_request_id(request_id);
    Coupon__V1__RequestPublishRequest request = COUPON__V1__REQUEST_PUBLISH_REQUEST__INIT;
    request.coupon_id = strtoll(argv[2], NULL, 10);
    request.user_id = strtoll(argv[3], NULL, 10);
    request.request_id = request_id;

    struct coupons_failure failure;
    Coupon__V1__RequestPublishResponse *response = coupons_call(client, &request.base, NULL, &failure);
    if (response) {
        printf("accepted, ticket %lld\n", (long long)response->status->ticket);
    } else {
        fprintf(stderr, "refused: %s\n", coupons_failure_name(&failure));
        coupons_failure_deinit(&failure);
    }
    coupons_free(response);
    coupons_client_free(client);
    return response ? 0 : 1;
}
