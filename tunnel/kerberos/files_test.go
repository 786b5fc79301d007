package kerberos

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"culvert/tunnel/client"
)

// A cache or a keytab that is cut off, as while kinit writes it, or damaged, is an error
// that says what to do.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	conf := filepath.Join(dir, "krb5.conf")
	if err := os.WriteFile(conf, []byte("[libdefaults]\ndefault_realm = A.TEST\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The beginning of a cache (version 4: header, principal ada@A.TEST) and of a keytab.
	cache := "\x05\x04\x00\x0c\x00\x01\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x06A.TEST\x00\x00\x00\x03ada\x00\x00\x00\x01\x00\x00"
	keytab := "\x05\x02\x00\x00\x00\x40\x00\x01\x00\x06A.TEST\x00\x03ada\x00\x00\x00\x01"
	try := func(text string, source *Source) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if source.Principal != "" {
			source.Keytab = path
		} else {
			source.Cache = path
		}
		source.Config = conf
		_, err := source.Negotiator("proxy.test")
		var told *client.LoginError
		if err != nil && (!errors.As(err, &told) || told.Hint == "") {
			t.Errorf("%q: error %v without a hint", text, err)
		}
		if err == nil && source.Cache != "" {
			t.Errorf("%q: taken for a cache with tickets", text)
		}
	}
	for n := range len(cache) {
		try(cache[:n], &Source{})
	}
	for n := range len(keytab) {
		try(keytab[:n], &Source{Principal: "ada@A.TEST"})
	}
	try(strings.Repeat("\x05\x04\xff\xff", 100), &Source{})
}
