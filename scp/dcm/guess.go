package dcm

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
)

// guess finds the character set of text of one data set that is in no declared set and is not certainly UTF-8. It decodes the text
// in each set that devices use without saying so, and takes the one whose characters are the most probable in a language. A set in
// which the text does not encode to the same bytes again is out, so no byte is lost.
type guess struct {
	buf      []byte
	spans    []span // of the data set in buf
	declared []string
	set      *guessed         // after the first use
	used     map[Tag]*guessed // by attribute that was decoded with a guess
	others   int              // values that needed a guess of their own

	judged bool // whether the declared set of 8 bits was compared with the most probable one
	wrong  bool // it is far less probable
}

// Limits of a guess, so that no data set costs much time: bytes of text, bytes of one value of it, and values with a guess of their own.
const sampled, sampledValue, mostOthers = 1024, 256, 64

// decode decodes raw, a value of t, with the set of the other text of the data set, or with its own if that does not fit.
func (g *guess) decode(t Tag, raw []byte) string {
	if g.set == nil {
		g.set, g.used = mostProbable(g.sample(raw)), map[Tag]*guessed{}
	}
	set := g.set
	s, ok := set.decode(raw)
	if !ok || doubtful(raw) && !set.in[0].wide() {
		if g.others++; g.others > mostOthers {
			set = &guesses[0]
		} else {
			set = mostProbable(raw)
		}
		s, _ = set.decode(raw)
	}
	if set.name != utf8Name {
		g.used[t] = set
	}
	return s
}

// doubtful reports whether text that is UTF-8 can be Chinese or Korean text in an older set as well: pairs of bytes that are
// characters of two bytes in both.
func doubtful(raw []byte) bool {
	return utf8.Valid(raw) && !bytes.ContainsFunc(raw, func(r rune) bool { return r > 0x7FF })
}

// certain is how much more probable, as a logarithm, another set than the declared one must be to be taken, and leastHigh the bytes
// beyond ASCII that show it: a name in the right set is never that improbable.
const certain, leastHigh = 15, 4

// doubts reports whether raw, in a declared set of 8 bits, in which it can be anything, is certainly text of another set. Devices
// of one country often declare ISO_IR 100 for whatever they write.
func (g *guess) doubts(declared encoding.Encoding, raw []byte) bool {
	if !g.judged {
		g.judged = true
		text := g.sample(raw)
		if high, n := highLetters(text); high >= leastHigh && 2*high > n && len(text) < sampled {
			as := guessed{enc: declared, in: letters(), mixed: true}
			best := mostProbable(text)
			g.wrong = best.name != utf8Name && best.likelihood(text) > as.likelihood(text)+certain
		}
	}
	return g.wrong
}

// highLetters counts the bytes beyond ASCII, and all letters of the words that have such bytes: in words of Latin script they are few.
func highLetters(text []byte) (high, letters int) {
	for word := range bytes.FieldsFuncSeq(text, func(r rune) bool { return r < utf8.RuneSelf && !unicode.IsLetter(r) }) {
		n := 0
		for _, c := range word {
			if c >= utf8.RuneSelf {
				n++
			}
		}
		if n > 0 {
			high, letters = high+n, letters+len(word)
		}
	}
	return high, letters
}

// sample is the text of the standard attributes that is neither ASCII nor certainly UTF-8, or raw.
func (g *guess) sample(raw []byte) []byte {
	var out []byte
	for _, sp := range g.spans {
		if sp.kind != valueSpan || !sp.vr.charset() || sp.tag.Group()%2 != 0 || sp.length > sampledValue {
			continue
		}
		if v := g.buf[sp.start : sp.start+sp.length]; !utf8.Valid(v) && len(out)+len(v) < sampled {
			out = append(append(out, v...), ' ')
		}
	}
	if len(out) == 0 {
		return raw
	}
	return out
}

// identity are the attributes that results repeat, with the names of the standard.
var identity = []struct {
	tag  Tag
	name string
}{
	{PatientName, "Patient's Name"}, {PatientID, "Patient ID"}, {IssuerOfPatientID, "Issuer of Patient ID"}, {AccessionNumber, "Accession Number"},
	{ReferringPhysicianName, "Referring Physician's Name"}, {StudyID, "Study ID"}, {StudyDescription, "Study Description"},
}

// said names the guess and the attributes of the results that it was used for; "" if there are none. It contains no patient data.
func (g *guess) said() string {
	var names []string
	set := ""
	for _, a := range identity {
		if used := g.used[a.tag]; used != nil {
			names = append(names, fmt.Sprintf("%s %s", a.name, a.tag))
			set = cmp.Or(set, used.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	why := "no Specific Character Set (0008,0005)"
	if len(g.declared) > 0 {
		why = fmt.Sprintf("bytes that are not in Specific Character Set (0008,0005) %q", strings.Join(g.declared, `\`))
	}
	return fmt.Sprintf("%s, so %s was read as %s, the most probable set; compare it with the images", why, strings.Join(names, " and "), set)
}

// guessed is a character set that devices use without saying so.
type guessed struct {
	name  string
	enc   encoding.Encoding
	prior float64 // logarithm; of two sets that fit, the usual one is taken
	in    []*language
	mixed bool // letters of ASCII among others of a word say nothing against it
}

// decode decodes raw. ok: it encodes to the same bytes.
func (c *guessed) decode(raw []byte) (s string, ok bool) {
	b, err := c.enc.NewDecoder().Bytes(raw)
	if err != nil || bytes.ContainsRune(b, utf8.RuneError) {
		return "", false
	}
	again, err := c.enc.NewEncoder().Bytes(b)
	return string(b), err == nil && bytes.Equal(again, raw)
}

// likelihood is the logarithm of the probability of text in the set, in the language that fits best; text is at most sampled long.
func (c *guessed) likelihood(text []byte) float64 {
	most := math.Inf(-1)
	s, ok := c.decode(text)
	for n := 1; !ok && len(text) == sampled && n < 4; n++ { // the limit may divide a character
		s, ok = c.decode(text[:len(text)-n])
	}
	if ok {
		for _, l := range c.in {
			mixed := l.mixed
			if c.mixed {
				mixed = 0
			}
			most = max(most, l.probability(s, mixed)+c.prior)
		}
	}
	return most
}

// mostProbable returns the set in which text is the most probable. The first one decodes any bytes.
func mostProbable(text []byte) *guessed {
	if len(text) > sampled {
		text = text[:sampled]
	}
	best, most := &guesses[0], math.Inf(-1)
	for i := range guesses {
		if p := guesses[i].likelihood(text); p > most {
			best, most = &guesses[i], p
		}
	}
	return best
}

// language is what letters a language has beyond ASCII, the most frequent ones first.
type language struct {
	rank  map[rune]float64 // logarithm of the probability of a lower-case letter
	other map[*unicode.RangeTable]float64
	mixed float64 // see probability
	plain float64 // of a letter of ASCII
	short float64 // added for a word of one or two letters
}

// wide reports whether characters of the language have two bytes in its sets.
func (l *language) wide() bool { return l.other != nil }

// alphabet is a language of letters. Those of Latin script have most letters in ASCII; the others have words of their own.
func alphabet(latin bool, letters string) *language {
	if latin {
		return &language{rank: ranked(letters, 0.08), plain: math.Log(0.92 / 26)}
	}
	return &language{rank: ranked(letters, 0.9), mixed: -12, plain: -4, short: -1.5}
}

// characters is a language of words and syllables: names are mostly written with the usual ones.
func characters(usual string, other map[*unicode.RangeTable]float64) *language {
	return &language{rank: ranked(usual, 0.7), other: other, mixed: -3, plain: -3.5}
}

// ranked gives the letters probabilities that fall from the first to the last, share in all.
func ranked(letters string, share float64) map[rune]float64 {
	out := map[rune]float64{}
	all := []rune(letters)
	fall := 3.5 / float64(len(all))
	first := math.Log(share * (1 - math.Exp(-fall)) / (1 - math.Exp(-3.5)))
	for i, r := range all {
		if _, ok := out[r]; !ok {
			out[r] = first - fall*float64(i)
		}
	}
	return out
}

// probability is the logarithm of that of s in the language; mixed is added where a letter of it and one of ASCII are neighbours.
func (l *language) probability(s string, mixed float64) float64 {
	const sign, strange, wrongCase = -7, -20, -5
	total, before := 0.0, ' '
	length, upper := 0, 0 // of the word so far
	for _, r := range s + " " {
		switch {
		case r < utf8.RuneSelf && unicode.IsLetter(r):
			total += l.plain
		case r < utf8.RuneSelf:
		case unicode.IsControl(r), unicode.Is(unicode.Co, r):
			total += strange
		default:
			total += l.of(r, before, sign)
		}
		letter := unicode.IsLetter(r) || unicode.IsMark(r)
		if !letter {
			if length > 0 && length < 3 && before >= utf8.RuneSelf {
				total += l.short
			}
			length, upper, before = 0, 0, r
			continue
		}
		if length > 0 && (r < utf8.RuneSelf) != (before < utf8.RuneSelf) {
			total += mixed
		}
		high := r >= utf8.RuneSelf || before >= utf8.RuneSelf
		if high && unicode.IsUpper(r) && length > upper || high && unicode.IsLower(r) && upper > 1 && upper == length {
			total += wrongCase
		}
		if length++; unicode.IsUpper(r) {
			upper++
		}
		before = r
	}
	return total
}

// of is the logarithm of the probability of a character beyond ASCII, in its upper or lower case.
func (l *language) of(r, before rune, sign float64) float64 {
	if p, ok := l.rank[unicode.ToLower(r)]; ok {
		if unicode.IsMark(r) && !unicode.IsLetter(before) && !unicode.IsMark(before) {
			return p + sign // a mark without a letter
		}
		return p
	}
	for table, p := range l.other {
		if unicode.Is(table, r) {
			return p
		}
	}
	if unicode.IsLetter(r) {
		return 2 * sign // of another language
	}
	if unicode.IsLetter(before) {
		return 2 * sign
	}
	return sign
}
