package dcm

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// Text is decoded without losing characters: bytes that are not in the declared set are read as UTF-8 if they are valid UTF-8,
// otherwise in the most probable set (see guess).

// repertoire is a parsed Specific Character Set (PS3.3 §C.12.1.1.2, PS3.5 §6.1.2).
type repertoire struct {
	whole    encoding.Encoding // one encoding for everything, no code extensions
	utf8     bool              // ISO_IR 192; also used if (0008,0005) is missing
	g0, g1   graphic           // with code extensions: the sets at the start of each value
	extended bool
	guess    *guess // of the data set; nil where text is ASCII by its VR
	tag      Tag    // of the value to be decoded
}

// graphic is a set of graphic characters that code extension places in G0 (bytes 21H to 7EH) or G1 (A1H to FEH).
type graphic struct {
	width   int               // bytes of one character
	prefix  []byte            // put before the bytes, with the high bit set, ...
	decoder encoding.Encoding // ... for this; nil is ASCII
}

var (
	ascii    = graphic{width: 1}
	romaji   = graphic{width: 1} // ISO-IR 14: differs in 5CH and 7EH, which files use as backslash and tilde
	katakana = graphic{1, []byte{0x8E}, japanese.EUCJP}
	jisX0208 = graphic{2, nil, japanese.EUCJP}
	jisX0212 = graphic{2, []byte{0x8F}, japanese.EUCJP}
	ksX1001  = graphic{2, nil, korean.EUCKR}
	gb2312   = graphic{2, nil, simplifiedchinese.GBK}
)

// singleByte are the G1 sets of 96 characters by their registration number (PS3.3 Table C.12-2).
var singleByte = map[string]encoding.Encoding{
	"100": charmap.ISO8859_1, "101": charmap.ISO8859_2, "109": charmap.ISO8859_3, "110": charmap.ISO8859_4,
	"126": charmap.ISO8859_7, "127": charmap.ISO8859_6, "138": charmap.ISO8859_8, "144": charmap.ISO8859_5,
	"148": charmap.ISO8859_9, "166": charmap.Windows874, "203": charmap.ISO8859_15,
}

// escapes are the sequences that designate a set, without ESC (PS3.3 Tables C.12-3 and C.12-4).
var escapes = []struct {
	seq string
	g1  bool
	set graphic
}{
	{"(B", false, ascii}, {"(J", false, romaji}, {")I", true, katakana},
	{"$B", false, jisX0208}, {"$@", false, jisX0208}, {"$(D", false, jisX0212},
	{"$)C", true, ksX1001}, {"$)A", true, gb2312},
	{"-A", true, latin("100")}, {"-B", true, latin("101")}, {"-C", true, latin("109")}, {"-D", true, latin("110")},
	{"-F", true, latin("126")}, {"-G", true, latin("127")}, {"-H", true, latin("138")}, {"-L", true, latin("144")},
	{"-M", true, latin("148")}, {"-T", true, latin("166")}, {"-b", true, latin("203")},
}

func latin(n string) graphic { return graphic{1, nil, singleByte[n]} }

// newRepertoire reads the values of (0008,0005), leniently: "ISO IR 100" and "ISO-IR 100" occur.
func newRepertoire(terms []string) repertoire {
	r := repertoire{g0: ascii, g1: ascii}
	for i, t := range terms {
		t = strings.ToUpper(strings.TrimRight(strings.TrimSpace(t), "\x00"))
		n := t[strings.LastIndexAny(t, " _")+1:]
		if strings.HasPrefix(t, "ISO 2022") || strings.HasPrefix(t, "ISO_2022") || i > 0 {
			r.extended = true
		}
		if i > 0 {
			continue // escapes tell when
		}
		switch {
		case n == "192":
			r.utf8 = true
			return r
		case n == "GB18030":
			r.whole = simplifiedchinese.GB18030
			return r
		case n == "GBK":
			r.whole = simplifiedchinese.GBK
			return r
		case n == "13":
			r.g0, r.g1, r.extended = romaji, katakana, true
		case singleByte[n] != nil:
			r.whole, r.g1 = singleByte[n], latin(n)
		case n == "149":
			r.g1 = ksX1001
		case n == "58":
			r.g1 = gb2312
		}
	}
	if r.extended {
		r.whole = nil
	} else if r.whole == nil {
		r.utf8 = true
	}
	return r
}

// decode returns the text of a whole value field as UTF-8. Backslashes in it separate values; those that were the second byte
// of a character are decoded.
func (r repertoire) decode(raw []byte, vr VR) string {
	plain := true
	for _, c := range raw {
		if c >= 0x80 || c == 0x1B {
			plain = false
			break
		}
	}
	switch {
	case plain:
		return string(raw)
	case r.utf8 && bytes.IndexByte(raw, 0x1B) < 0:
		return r.likely(raw)
	case r.whole != nil && r.guess != nil && r.g1.decoder != nil && r.guess.doubts(r.whole, raw):
		return r.guess.decode(r.tag, raw)
	case r.whole != nil:
		return r.convert(r.whole, raw)
	case r.g1.decoder == nil && bytes.IndexByte(raw, 0x1B) < 0: // no escape sequence says how to read high bytes
		return r.likely(raw)
	}
	return r.codeExtensions(raw, vr)
}

// likely decodes bytes without a declared set, or that are not in the declared set.
func (r repertoire) likely(raw []byte) string {
	switch {
	case utf8.Valid(raw) && (r.guess == nil || len(r.guess.declared) > 0 || !doubtful(raw)):
		return string(raw)
	case r.guess != nil:
		return r.guess.decode(r.tag, raw)
	}
	s, _ := charmap.ISO8859_1.NewDecoder().Bytes(raw) // decodes every byte
	return string(s)
}

// codeExtensions decodes text with the escape sequences of ISO 2022 used by DICOM (PS3.5 §6.1.2.5).
func (r repertoire) codeExtensions(raw []byte, vr VR) string {
	var out strings.Builder
	g0, g1 := r.g0, r.g1
	for i := 0; i < len(raw); {
		c := raw[i]
		switch {
		case c == 0x1B:
			i++
			for _, e := range escapes {
				if strings.HasPrefix(string(raw[i:min(len(raw), i+4)]), e.seq) {
					if e.g1 {
						g1 = e.set
					} else {
						g0 = e.set
					}
					i += len(e.seq)
					break
				}
			}
			continue // an unknown escape is dropped
		case c < 0x20, g0.width == 1 && (c == '\\' && !vr.single() || vr == "PN" && (c == '^' || c == '=')):
			g0, g1 = r.g0, r.g1 // delimiters and control characters end designations (PS3.5 §6.1.2.5.3)
			out.WriteByte(c)
			i++
			continue
		}
		set := g0
		if c >= 0x80 {
			set = g1
		}
		if set.decoder == nil || c == ' ' {
			out.WriteRune(rune(c))
			i++
			continue
		}
		var run []byte // the following characters of this set
		for i+set.width <= len(raw) && raw[i] > ' ' && raw[i]&0x80 == c&0x80 {
			run = append(run, set.prefix...)
			for _, b := range raw[i : i+set.width] {
				run = append(run, b|0x80)
			}
			i += set.width
		}
		if len(run) == 0 { // half a character at the end
			out.WriteRune(rune(c))
			break
		}
		out.WriteString(r.convert(set.decoder, run))
	}
	return out.String()
}

// convert decodes raw with e, or by likely if e cannot decode all of it to text; sets of 8 bits have control characters at 80H to 9FH.
func (r repertoire) convert(e encoding.Encoding, raw []byte) string {
	b, err := e.NewDecoder().Bytes(raw)
	if err != nil || bytes.ContainsFunc(b, func(c rune) bool { return c == utf8.RuneError || c >= 0x80 && unicode.IsControl(c) }) {
		return r.likely(raw)
	}
	return string(b)
}

// splitText splits a decoded value field into values and trims padding (PS3.5 §6.2). It keeps leading spaces in VRs for prose.
func splitText(s string, vr VR) []string {
	if vr.single() {
		if s = strings.TrimRight(s, " \x00"); s == "" {
			return nil
		}
		return []string{s}
	}
	cut := " \x00"
	if s = strings.TrimRight(s, cut); s == "" {
		return nil
	}
	if !strings.Contains(s, `\`) {
		if vr != "UC" {
			s = strings.TrimLeft(s, cut)
		}
		return []string{s}
	}
	values := strings.Split(s, `\`)
	for i, v := range values {
		if vr == "UC" {
			values[i] = strings.TrimRight(v, cut)
		} else {
			values[i] = strings.Trim(v, cut)
		}
	}
	return values
}
