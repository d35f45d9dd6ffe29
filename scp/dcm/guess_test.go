package dcm

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// Names in a set that the header does not declare come out as they were written, and the file says that the set is a guess.
func TestUndeclaredCharacterSets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		enc   encoding.Encoding
		names string
		want  string // in what the file says
	}{
		{charmap.Windows1252, "Müller^Jörg|Buc^Jérôme|Muñoz^José|Gonçalves^João|Ångström^Åsa|Sørensen^Kåre|MÜLLER^JÖRG|Nuñez^Íñigo|D’Angelo^Nicolò|Zoë|Weiß^Änne|Le Goff^Anaïs", "Windows-1252"},
		{charmap.ISO8859_1, "Müller^Jörg|Guðrún^Þóra", "Windows-1252"},
		{charmap.Windows1250, "Kowalski^Łukasz|Wiśniewska^Małgorzata|Dvořák^Jiří|Šťastný^Tomáš|Žižka^Ondřej|Kovačević^Željko", "Windows-1250"},
		{charmap.ISO8859_2, "Wałęsa^Michał|Wiśniewska^Małgorzata|Dvořáková^Alžběta|Szűcs^Győző|Kőszegi^Tamás|Žižka^Ondřej", "Central European"},
		{charmap.ISO8859_9, "Yıldız^Ayşe|Öztürk^Gülşah Işık|ŞAHİN^ÇAĞRI", "Turkish"},
		{charmap.Windows1251, "Иванов^Иван|Петрова^Мария Сергеевна|ИВАНОВ^ИВАН^ИВАНОВИЧ|Щукин^Юрий|Шевченко^Тарас Григорович|Кім^Їжак|Достоевский^Фёдор|Ким^Ли|Цой^Виктор|Ян^Ия|иванов^пётр|Јовановић^Ђорђе", "Windows-1251"},
		{charmap.ISO8859_5, "Иванов^Иван|Петрова^Мария|ИВАНОВ^ИВАН|Кузнецов^Сергей", "8859-5"},
		{charmap.KOI8R, "Иванов^Иван|Петрова^Мария|ИВАНОВ^ИВАН|Кузнецов^Сергей", "KOI8"},
		{charmap.CodePage866, "Иванов^Иван|ПЕТРОВА^МАРИЯ", "866"},
		{charmap.ISO8859_7, "Παπαδόπουλος^Γεώργιος|ΔΗΜΗΤΡΙΟΥ^ΕΛΕΝΗ|Νικολάου^Άννα", "Greek"},
		{charmap.Windows1253, "Παπαδόπουλος^Γεώργιος|ΔΗΜΗΤΡΙΟΥ^ΕΛΕΝΗ|Νικολάου^Άννα", "Greek"},
		{charmap.ISO8859_8, "שרון^דבורה|כהן^משה", "Hebrew"},
		{charmap.ISO8859_6, "قباني^لنزار|محمد^أحمد", "Arabic"},
		{charmap.Windows1256, "قباني^نزار|محمد^أحمد|رضايي^پروين", "Arabic"},
		{charmap.Windows874, "สมชาย^ใจดี|วิชัย^ศรีสุข", "Thai"},
		{simplifiedchinese.GBK, "王^小明|张^伟|李^娜|欧阳^娜娜|Wang^XiaoDong=王^小东=|诸葛^亮|Zhang^Wei=张^伟|陈^静|头颅CT平扫|王小东|刘德华|赵^丽颖|周^芳|吴^刚|朱^平|高^峰|郭^强|欧阳^修|马^超", "GB18030"},
		{traditionalchinese.Big5, "王^小明|陳^怡君|林^志玲|張^學友", "Big5"},
		{japanese.ShiftJIS, "山田^太郎|ﾔﾏﾀﾞ^ﾀﾛｳ|Yamada^Tarou=山田^太郎=やまだ^たろう|佐藤^花子|渡辺^健一|ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう|タナカ^イチロウ|ｽｽﾞｷ^ﾊﾅｺ", "Shift JIS"},
		{japanese.EUCJP, "山田^太郎|鈴木^一郎|佐々木^健|森^光子", "EUC-JP"},
		{korean.EUCKR, "홍^길동|김^민수|박^지현|Hong^Gildong=洪^吉洞=홍^길동|이^영희|최^수진|정^훈|윤^아|강^호동", "EUC-KR"},
	} {
		for _, name := range strings.Split(c.names, "|") {
			raw, err := c.enc.NewEncoder().Bytes([]byte(name))
			if err != nil {
				t.Fatal(name, err)
			}
			f, err := decodeFile(part10(t, ExplicitVRLittleEndian, el(PatientName, "PN", append(raw, " "[:len(raw)%2]...))))
			if err != nil {
				t.Fatal(err)
			}
			if got := f.Data.String(PatientName); got != name {
				t.Errorf("%v: %s, read as %s", c.enc, name, got)
			}
			if !strings.Contains(f.Assumed, c.want) || !strings.Contains(f.Assumed, "Patient's Name (0010,0010)") || strings.Contains(f.Assumed, name) {
				t.Errorf("%v: %s: %q", c.enc, name, f.Assumed)
			}
		}
	}
}

// What is not a guess is not called one, text that no result repeats is not mentioned, and all text of a data set is read alike.
func TestGuessOfCharacterSet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data []byte
		want string
		said string
	}{
		"ASCII":          {el(PatientName, "PN", []byte("A^B ")), "A^B", ""},
		"UTF-8":          {el(PatientName, "PN", []byte("Jörg  "[:6])), "Jörg", ""},
		"declared":       {slices.Concat(el(SpecificCharacterSet, "CS", []byte("ISO_IR 100")), el(PatientName, "PN", []byte("J\xf6rg"))), "Jörg", ""},
		"not in results": {el(0x00080080, "LO", []byte("J\xf6rg")), "", ""},
		"declared wrong": {slices.Concat(el(SpecificCharacterSet, "CS", []byte("ISO_IR 192")), el(PatientName, "PN", []byte("J\xf6rg"))), "Jörg",
			`bytes that are not in Specific Character Set (0008,0005) "ISO_IR 192", so Patient's Name (0010,0010) was read as Windows-1252`},
		"Shift JIS in ISO 8859-1, which has control characters there": {slices.Concat(el(SpecificCharacterSet, "CS", []byte("ISO_IR 100")),
			el(PatientName, "PN", []byte("\x8eR\x93c^\x91\xbe\x98Y "))), "山田^太郎", "Shift JIS"},
		"GBK declared as ISO 8859-1": {slices.Concat(el(SpecificCharacterSet, "CS", []byte("ISO_IR 100")), el(PatientName, "PN", []byte("\xcd\xf5^\xd0\xa1\xc3\xf7 "))), "王^小明",
			`bytes that are not in Specific Character Set (0008,0005) "ISO_IR 100", so Patient's Name (0010,0010) was read as GB18030`},
		"Windows-1251 declared as ISO 8859-1": {slices.Concat(el(SpecificCharacterSet, "CS", []byte("ISO_IR 100")), el(PatientName, "PN", []byte("\xc8\xe2\xe0\xed\xee\xe2^\xc8\xe2\xe0\xed "))),
			"Иванов^Иван", "Windows-1251"},
		"a short name in its set": {slices.Concat(el(SpecificCharacterSet, "CS", []byte("ISO_IR 144")), el(PatientName, "PN", []byte("\xbb\xee\xda "))), "Люк", ""},
		"a short name beside a description": {slices.Concat(el(0x00081030, "LO", []byte("\xcd\xb7\xc2\xad\xc6\xbd\xc9\xa8")), el(PatientName, "PN", []byte("\xd5\xc5"))), "张",
			"Patient's Name (0010,0010) and Study Description (0008,1030) was read as GB18030"},
	} {
		f, err := decodeFile(part10(t, ExplicitVRLittleEndian, c.data))
		if err != nil {
			t.Fatal(name, err)
		}
		if got := f.Data.String(PatientName); got != c.want || (c.said == "") != (f.Assumed == "") || !strings.Contains(f.Assumed, c.said) {
			t.Errorf("%s: %q, says %q", name, got, f.Assumed)
		}
	}
}

// A name in the set that is declared is never taken for one in another set.
func TestDeclaredCharacterSetIsKept(t *testing.T) {
	t.Parallel()
	for set, names := range map[string]string{
		"ISO_IR 100": "Müller^Jörg|Buc^Jérôme|MÜLLER^JÜRGEN^ÄÖÜ|Ångström^Åsa|Guðrún^Þóra|ÀÉÈÊ^ÇÔÛ|Öäü Ößü^Äöü|Noël^Zoë^Anaïs^Loïc|Øyvind^Ærø^Åse|ÉÉÉÉ ÈÈÈÈ",
		"ISO_IR 101": "Wałęsa^Łukasz|Dvořáková^Alžběta|Őry^Győző|Żółć^Gęślą^Jaźń",
		"ISO_IR 144": "Иванов^Иван|ЩУКИН^ЮРИЙ^ЭДУАРДОВИЧ|Люк|Ђорђе^Љубица|Ющенко^Їжак",
		"ISO_IR 126": "Παπαδόπουλος^Γεώργιος|ΞΥΨΩ^ΦΧΨ",
		"ISO_IR 127": "قباني^لنزار|محمد^أحمد",
		"ISO_IR 138": "שרון^דבורה|כהן^משה",
		"ISO_IR 148": "Yıldız^Ayşe|Öztürk^Gülşah|ĞÜŞ^İÇÖ",
		"ISO_IR 166": "สมชาย^ใจดี|นาม",
	} {
		for _, name := range strings.Split(names, "|") {
			raw, err := singleByte[strings.TrimPrefix(set, "ISO_IR ")].NewEncoder().Bytes([]byte(name))
			if err != nil {
				t.Fatal(name, err)
			}
			f, err := decodeFile(part10(t, ExplicitVRLittleEndian, slices.Concat(el(SpecificCharacterSet, "CS", []byte(set)), el(PatientName, "PN", append(raw, " "[:len(raw)%2]...)))))
			if err != nil {
				t.Fatal(err)
			}
			if got := f.Data.String(PatientName); got != name || f.Assumed != "" {
				t.Errorf("%s: %s, read as %s: %q", set, name, got, f.Assumed)
			}
		}
	}
}
