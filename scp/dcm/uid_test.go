package dcm

import (
	"strings"
	"testing"
)

func TestValidUID(t *testing.T) {
	for uid, want := range map[string]bool{
		"1.2.840.10008.1.1": true, "0": true, "1.0.2": true, "2.25.329800735698586629295641978511506172918": true,
		strings.Repeat("1.", 31) + "12": true, "": false, ".": false, "1.": false, ".1": false, "1..2": false, "1.02": false,
		"00": false, "1.2.a": false, "1.2/../3": false, "1.2 ": false, "1.2\x00": false, strings.Repeat("1", 65): false,
	} {
		if ValidUID(uid) != want {
			t.Errorf("ValidUID(%q) = %v", uid, !want)
		}
	}
}

func TestPlausibleUID(t *testing.T) {
	for uid, want := range map[string]bool{
		"1.2.840.10008.1.1": true, "1.02": true, "1.2.": true, "00": true, strings.Repeat("1", 64): true, "": false, ".": false,
		"..": false, ".1": false, "1.2/../3": false, "1.2.a": false, "1.2\x00": false, strings.Repeat("1", 65): false,
	} {
		if PlausibleUID(uid) != want {
			t.Errorf("PlausibleUID(%q) = %v", uid, !want)
		}
	}
}

func TestMadeUIDs(t *testing.T) {
	a, b, c := DeriveUID("ab", "c"), DeriveUID("a", "bc"), DeriveUID("ab", "c")
	if first, second := RandomUID(), RandomUID(); a != c || a == b || first == second {
		t.Fatal(a, b, c)
	}
	if want := "2.25.127758177345770221707796566874054092183"; a != want { // results must stay the same across versions
		t.Fatalf("DeriveUID gives %s, it gave %s", a, want)
	}
	for range 1000 {
		if u := RandomUID(); !ValidUID(u) || !strings.HasPrefix(u, "2.25.") {
			t.Fatal(u)
		}
	}
	for _, u := range []string{a, b, ImplementationClassUID} {
		if !ValidUID(u) {
			t.Fatal(u)
		}
	}
	for uid := range uidNames {
		if !ValidUID(uid) {
			t.Fatal(uid)
		}
	}
	if len(ImplementationVersionName) > 16 {
		t.Fatal(ImplementationVersionName)
	}
}
