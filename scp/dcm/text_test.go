package dcm

import (
	"slices"
	"strings"
	"testing"
)

// Names from PS3.5 Annexes H, I, J and K, and others.
func TestSpecificCharacterSets(t *testing.T) {
	const esc = "\x1b"
	for _, c := range []struct {
		name, set, raw string
		want           []string
	}{
		{"default", "", "Smith^John", []string{"Smith^John"}},
		{"absent but UTF-8", "", "M\xc3\xbcller", []string{"Müller"}},
		{"absent and not UTF-8", "", "M\xfcller", []string{"Müller"}},
		{"latin 1", "ISO_IR 100", "Buc^J\xe9r\xf4me", []string{"Buc^Jérôme"}},
		{"latin 1, spelled otherwise", "ISO IR 100", "J\xe9", []string{"Jé"}},
		{"latin 1, two values", "ISO_IR 100", `J\` + "\xe9 ", []string{"J", "é"}},
		{"latin 2", "ISO_IR 101", "W\xb3ad", []string{"Wład"}},
		{"latin 3", "ISO_IR 109", "\xb1", []string{"ħ"}},
		{"latin 4", "ISO_IR 110", "\xbf", []string{"ŋ"}},
		{"greek", "ISO_IR 126", "\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", []string{"Διονυσιος"}},
		{"arabic", "ISO_IR 127", "\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", []string{"قباني^لنزار"}},
		{"hebrew", "ISO_IR 138", "\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", []string{"שרון^דבורה"}},
		{"cyrillic", "ISO_IR 144", "\xbb\xee\xdace\xdc\xd1yp\xd3", []string{"Люкceмбypг"}},
		{"latin 5", "ISO_IR 148", "\xd0\xdd\xfe", []string{"Ğİş"}},
		{"thai", "ISO_IR 166", "\xb9\xd2\xc1", []string{"นาม"}},
		{"utf-8", "ISO_IR 192", "Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1=", []string{"Wang^XiaoDong=王^小東="}},
		{"gb18030", "GB18030", "Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", []string{"Wang^XiaoDong=王^小东="}},
		{"gbk, second byte 5CH", "GBK", "\x81\x5c" + `\b`, []string{"乗", "b"}},
		{"japanese, first empty", `\ISO 2022 IR 87`,
			"Yamada^Tarou=" + esc + "$B;3ED" + esc + "(B^" + esc + "$BB@O:" + esc + "(B=" + esc + "$B$d$^$@" + esc + "(B^" + esc + "$B$?$m$&" + esc + "(B",
			[]string{"Yamada^Tarou=山田^太郎=やまだ^たろう"}},
		{"japanese with katakana", `ISO 2022 IR 13\ISO 2022 IR 87`,
			"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=" + esc + "$B;3ED" + esc + "(J^" + esc + "$BB@O:" + esc + "(J=" + esc + "$B$d$^$@" + esc + "(J^" + esc + "$B$?$m$&" + esc + "(J",
			[]string{"ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"}},
		{"katakana alone", "ISO_IR 13", "\xd4\xcf\xc0\xde^\xc0\xdb\xb3", []string{"ﾔﾏﾀﾞ^ﾀﾛｳ"}},
		{"japanese supplement", `\ISO 2022 IR 87\ISO 2022 IR 159`, "a=" + esc + "$(D0\x21" + esc + "(B", []string{"a=丂"}},
		{"japanese with 5CH inside", `\ISO 2022 IR 87`, esc + "$B\x3d\x5c" + esc + "(B\\b", []string{"旬", "b"}},
		{"korean, first empty", `\ISO 2022 IR 149`,
			"Hong^Gildong=" + esc + "$)C\xfb\xf3^" + esc + "$)C\xd1\xce\xd4\xd7=" + esc + "$)C\xc8\xab^" + esc + "$)C\xb1\xe6\xb5\xbf",
			[]string{"Hong^Gildong=洪^吉洞=홍^길동"}},
		{"chinese, code extensions", `\ISO 2022 IR 58`, "Zhang^XiaoDong=" + esc + "$)A\xd5\xc5^" + esc + "$)A\xd0\xa1\xb6\xab=", []string{"Zhang^XiaoDong=张^小东="}},
		{"latin 1 and greek", `ISO 2022 IR 100\ISO 2022 IR 126`, "\xe9" + esc + "-F\xc4" + `\` + "\xe9", []string{"éΔ", "é"}},
		{"UTF-8 claimed, latin 1", "ISO_IR 192", "M\xfcller", []string{"Müller"}},
		{"absent and with escapes", "", "Yamada=" + esc + "$B;3ED" + esc + "(B", []string{"Yamada=山田"}},
		{"korean escapes undeclared", "", esc + "$)C\xfb\xf3", []string{"洪"}},
		{"japanese declared, UTF-8", `\ISO 2022 IR 87`, "\xe5\xb1\xb1", []string{"山"}},
		{"japanese declared, latin 1", `\ISO 2022 IR 87`, "M\xfcller", []string{"Müller"}},
		{"gb18030 declared, latin 1", "GB18030", "M\xfc", []string{"Mü"}},
		{"thai with a byte that it has not", "ISO_IR 166", "a\xff", []string{"aÿ"}},
		{"unknown set", "ISO_IR 999", "M\xfcller", []string{"Müller"}},
		{"unknown escape", `\ISO 2022 IR 87`, "a" + esc + "%Zb", []string{"a%Zb"}},
		{"escape at the end", `\ISO 2022 IR 87`, "a" + esc, []string{"a"}},
		{"half a character", `\ISO 2022 IR 149`, esc + "$)C\xfb\xf3\xd1", []string{"洪Ñ"}},
		{"shift back missing", `\ISO 2022 IR 87`, esc + "$B;3E", []string{"山E"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := slices.Concat(el(SpecificCharacterSet, "CS", []byte(c.set)), el(PatientName, "PN", []byte(c.raw)))
			f, err := decodeFile(part10(t, ExplicitVRLittleEndian, data))
			if err != nil {
				t.Fatal(err)
			}
			if got := f.Data.Strings(PatientName); !slices.Equal(got, c.want) {
				t.Fatalf("%q, want %q", got, c.want)
			}
			again, err := decodeFile(encode(t, withUIDs(f.Data), ExplicitVRLittleEndian)) // and can be written
			if err != nil || !slices.Equal(again.Data.Strings(PatientName), c.want) {
				t.Fatalf("%v %v", again, err)
			}
		})
	}
}

func withUIDs(d *DataSet) *DataSet {
	d.SetStrings(SOPClassUID, "UI", CTImageStorage)
	d.SetStrings(SOPInstanceUID, "UI", "1.2")
	return d
}

// An item may have its own character set; what follows it has not (PS3.5 §6.1.2.3).
func TestCharacterSetOfAnItem(t *testing.T) {
	data := slices.Concat(el(SpecificCharacterSet, "CS", []byte("ISO_IR 100")),
		el(ContentSequence, "SQ", slices.Concat(
			im(Item, slices.Concat(el(SpecificCharacterSet, "CS", []byte("ISO_IR 144")), el(PersonName, "PN", []byte("\xbb")))),
			im(Item, el(PersonName, "PN", []byte("\xe9"))))),
		el(PersonName, "PN", []byte("\xe9")))
	f, err := decodeFile(part10(t, ExplicitVRLittleEndian, data))
	if err != nil {
		t.Fatal(err)
	}
	items := f.Data.Sequence(ContentSequence)
	if got := items[0].String(PersonName) + items[1].String(PersonName) + f.Data.String(PersonName); got != "Лéé" {
		t.Fatal(got)
	}
}

func TestPadding(t *testing.T) {
	data := slices.Concat(
		el(ImageType, "CS", []byte(` A \B \\ `)), el(ImageComments, "LT", []byte("  x\\y  ")), el(SOPInstanceUID, "UI", []byte("1.2\x00")),
		el(StudyDate, "DA", []byte(`20200101\20200102`)), el(PatientSex, "CS", []byte("  ")), el(PixelSpacing, "DS", []byte(` 0.5\ 1 `)))
	f, err := decodeFile(part10(t, ExplicitVRLittleEndian, data))
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[Tag]string{ImageType: "A|B||", ImageComments: `  x\y`, SOPInstanceUID: "1.2", StudyDate: "20200101|20200102",
		PatientSex: "", PixelSpacing: "0.5|1"} {
		if got := strings.Join(f.Data.Strings(tag), "|"); got != want {
			t.Errorf("%s: %q, want %q", tag, got, want)
		}
	}
}

func TestDictionary(t *testing.T) {
	for tag, want := range map[Tag]VR{PatientName: "PN", TrackingID: "UT", TrackingUID: "UI", PixelData: "OW", ExtendedOffsetTable: "OV",
		0x60023000: "OW", 0x60020010: "US", 0x00090010: "LO", 0x00091001: "UN", 0x00080000: "UL", 0x00080001: "UL", SegmentSequence: "SQ",
		0x0008FFFF: "UN", LongCodeValue: "UC", URNCodeValue: "UR", 0x00720082: "SV", PixelPaddingValue: "US"} {
		if got := tag.VR(); got != want {
			t.Errorf("%s: %s, want %s", tag, got, want)
		}
	}
}
