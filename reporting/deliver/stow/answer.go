package stow

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"ichor/scp/dimse"
)

// Error is an error response about the request, not about its object.
type Error struct {
	Code  int    // HTTP status
	Words string // from the server, or what to do
}

func (e *Error) Error() string {
	s := fmt.Sprintf("STOW-RS: HTTP %d %s", e.Code, http.StatusText(e.Code))
	if e.Words != "" {
		s += " (" + e.Words + ")"
	}
	return s
}

// Denied reports whether the service rejects our requests: credentials or address are wrong.
func (e *Error) Denied() bool {
	switch e.Code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable,
		http.StatusProxyAuthRequired, http.StatusGone, http.StatusNotImplemented:
		return true
	}
	return e.Code >= 300 && e.Code < 400
}

// Refused reports whether the service refuses the object (PS3.18 Table 10.5.3-1 and RFC 9110 §15.5). Errors that are neither
// Denied nor Refused may be temporary: too many requests, or a server fault.
func (e *Error) Refused() bool {
	switch e.Code {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// judge converts a response to the equivalent C-STORE status (PS3.18 §10.5.3).
func judge(answer *http.Response, text []byte, sopInstanceUID string) (dimse.Status, error) {
	code := answer.StatusCode
	if code == http.StatusOK || code == http.StatusAccepted || code == http.StatusConflict {
		o, known := parse(answer.Header.Get("Content-Type"), text)[sopInstanceUID]
		switch {
		case known && o.failed:
			status := dimse.Status(o.reason)
			switch {
			case o.reason == azureKnown || saysKnown(o.words):
				status = dimse.DuplicateInstance
			case !status.Failure(): // it failed, but the reason is not a failure status
				status = dimse.ProcessingFailure
			}
			return status, failure(status, code, o.words)
		case known && dimse.Status(o.reason).Warning():
			return dimse.Status(o.reason), nil
		case known || code != http.StatusConflict:
			return dimse.StatusSuccess, nil
		}
	}
	e := deny(answer)
	if e.Words == "" {
		e.Words = words(text)
	}
	if code == http.StatusConflict && saysKnown(e.Words) {
		return dimse.DuplicateInstance, failure(dimse.DuplicateInstance, code, e.Words)
	}
	return dimse.ProcessingFailure, e
}

// azureKnown is the reason that the DICOM service of Azure gives for an instance that it has; the standard has 0111H.
const azureKnown = 45070

// saysKnown reports whether the words of a server say that it has the instance.
func saysKnown(words string) bool {
	words = strings.ToLower(words)
	return strings.Contains(words, "already exist") || strings.Contains(words, "already stored") || strings.Contains(words, "duplicate")
}

// failure is what an answer says of the object, with the words of the server.
func failure(status dimse.Status, code int, words string) error {
	comment := fmt.Sprintf("HTTP %d", code)
	if words != "" {
		comment += ": " + words
	}
	return fmt.Errorf("STOW-RS: %w", &dimse.StatusError{Status: status, Comment: comment})
}

// deny returns the error for a response, with what to do about it.
func deny(answer *http.Response) *Error {
	e := &Error{Code: answer.StatusCode}
	switch {
	case e.Code >= 300 && e.Code < 400:
		e.Words = "the service has moved; set url to " + redacted(answer.Header.Get("Location"))
	case e.Code == http.StatusUnauthorized || e.Code == http.StatusForbidden:
		e.Words = "check token_file or password_file"
	case e.Code == http.StatusNotFound || e.Code == http.StatusMethodNotAllowed:
		e.Words = "no STOW-RS service there; check url"
	}
	return e
}

// words returns the start of a plain-text response. HTML pages are ignored.
func words(text []byte) string {
	s := clean(string(text[:min(len(text), 300)]))
	if s == "" || strings.ContainsAny(s[:1], "<{[") {
		return ""
	}
	return s
}

// clean is text from a server in one line, without control characters and of bounded length.
func clean(text string) string {
	s := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text[:min(len(text), 300)], ""))
	return strings.Join(strings.Fields(s), " ")
}

// outcome is the part of a response about one object.
type outcome struct {
	failed bool
	reason uint16 // (0008,1197) of a failure, (0008,1196) of a warning
	words  string // of the server on a failure, in whatever attribute it puts them
}

// Tags of the response module, as written in JSON and XML (PS3.18 Table I.1-1).
const (
	failedSequence     = "00081198"
	referencedSequence = "00081199"
	sopInstanceUID     = "00080018"
	classUID           = "00081150"
	instanceUID        = "00081155"
	failureReason      = "00081197"
	warningReason      = "00081196"
)

// parse returns the contents of the response module by SOP Instance UID. It ignores what it cannot parse.
func parse(contentType string, text []byte) map[string]outcome {
	read := readJSON
	if strings.Contains(contentType, "xml") || strings.HasPrefix(strings.TrimSpace(string(text[:min(len(text), 64)])), "<") {
		read = readXML
	}
	d := read(text)
	list := map[string]outcome{}
	for _, it := range d.sequences[referencedSequence] {
		list[it.values[instanceUID]] = outcome{reason: number(it.values[warningReason])}
	}
	for _, it := range d.sequences[failedSequence] {
		list[it.values[instanceUID]] = outcome{failed: true, reason: number(it.values[failureReason]), words: it.words()}
	}
	return list
}

func number(s string) uint16 {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// module is a data set reduced to sequences and first values.
type module struct {
	values    map[string]string
	sequences map[string][]module
}

// words are all that an item says beside its identity and the number of a reason: Error Comment, or private attributes.
func (m module) words() string {
	var list []string
	for _, tag := range slices.Sorted(maps.Keys(m.values)) {
		switch v := clean(m.values[tag]); {
		case tag == instanceUID, tag == classUID, tag == failureReason, tag == warningReason, strings.HasSuffix(tag, "0010"), v == "": // xxxx0010: a private creator
		default:
			list = append(list, v)
		}
	}
	return clean(strings.Join(list, ", "))
}

// readJSON parses the DICOM JSON model (PS3.18 §F.2); some servers wrap the module in an array.
func readJSON(text []byte) module {
	var raw json.RawMessage = text
	var list []json.RawMessage
	if json.Unmarshal(text, &list) == nil && len(list) == 1 {
		raw = list[0]
	}
	return jsonModule(raw, 0)
}

func jsonModule(raw json.RawMessage, depth int) module {
	m := module{map[string]string{}, map[string][]module{}}
	var attributes map[string]struct {
		VR    string
		Value []json.RawMessage
	}
	if depth > 1 || json.Unmarshal(raw, &attributes) != nil {
		return m
	}
	for tag, a := range attributes {
		for i, v := range a.Value {
			if a.VR == "SQ" {
				m.sequences[tag] = append(m.sequences[tag], jsonModule(v, depth+1))
			} else if i == 0 {
				m.values[tag] = strings.Trim(string(v), `"`)
				var text string
				if json.Unmarshal(v, &text) == nil {
					m.values[tag] = text
				}
			}
		}
	}
	return m
}

// attribute is one of the Native DICOM Model (PS3.19 §A.1).
type attribute struct {
	Tag    string   `xml:"tag,attr"`
	Values []string `xml:"Value"`
	Items  []struct {
		Attributes []struct {
			Tag    string   `xml:"tag,attr"`
			Values []string `xml:"Value"`
		} `xml:"DicomAttribute"`
	} `xml:"Item"`
}

func readXML(text []byte) module {
	m := module{map[string]string{}, map[string][]module{}}
	var doc struct {
		Attributes []attribute `xml:"DicomAttribute"`
	}
	if xml.Unmarshal(text, &doc) != nil {
		return m
	}
	for _, a := range doc.Attributes {
		for _, it := range a.Items {
			item := module{values: map[string]string{}}
			for _, b := range it.Attributes {
				if len(b.Values) > 0 {
					item.values[b.Tag] = strings.TrimSpace(b.Values[0])
				}
			}
			m.sequences[a.Tag] = append(m.sequences[a.Tag], item)
		}
	}
	return m
}
