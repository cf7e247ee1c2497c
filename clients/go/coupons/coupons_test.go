// SPDX-License-Identifier: Apache-2.0

package coupons

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestATokenGoesOverPlainTextToLoopbackOnlyOrWhereTheUserSaysSo(t *testing.T) {
	for target, loopback := range map[string]bool{
		"127.0.0.1:1": true, "localhost:1": true, "[::1]:1": true, "localhost": true, "unix:/run/x": true,
		"dns:///localhost:1": true, "127.0.0.1:1,[::1]:2": true,
		"0.0.0.0:1": false, "coupons.test:1": false, "127.0.0.1.test:1": false, "127.0.0.1:1,192.0.2.1:1": false,
		"dns://192.0.2.1/localhost:1": false, "unix.test:1": false,
	} {
		for _, allowed := range []bool{false, true} {
			connection, err := NewClient(target, Options{Token: "t", PlaintextToken: allowed})
			if (err == nil) != (loopback || allowed) {
				t.Errorf("%s with PlaintextToken %v: %v", target, allowed, err)
			}
			if err == nil {
				connection.Close()
			}
		}
	}
	if _, err := NewClient("127.0.0.1:1", Options{Token: "a\n"}); err == nil || !strings.Contains(err.Error(), "line break") {
		t.Errorf("a token with a line break: %v", err)
	}
}

func TestFilesThatAreNoCertificatesAreRefusedByName(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, options := range []Options{{CA: empty}, {CA: "/nowhere.pem"}, {Certificate: "/nowhere.pem", Key: "/nowhere.key"}} {
		_, err := NewClient("127.0.0.1:1", options)
		if err == nil || !strings.Contains(err.Error(), options.CA+options.Certificate) {
			t.Errorf("%+v: %v", options, err)
		}
	}
}
