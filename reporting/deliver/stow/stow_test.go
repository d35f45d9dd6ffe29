package stow

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
)

const uid = "1.2.3.4"

// request is a small object to store.
func request(t *testing.T) dimse.StoreRequest {
	t.Helper()
	d := &dcm.DataSet{}
	d.SetStrings(dcm.SOPClassUID, "UI", dcm.Comprehensive3DSRStorage)
	d.SetStrings(dcm.SOPInstanceUID, "UI", uid)
	d.SetStrings(dcm.PatientName, "PN", "Prüf^Änne")
	d.SetStrings(dcm.StudyInstanceUID, "UI", "1.2.3")
	d.SetStrings(dcm.SeriesInstanceUID, "UI", "1.2.3.1")
	var b bytes.Buffer
	if err := dcm.WriteDataSet(&b, d, dcm.ExplicitVRLittleEndian); err != nil {
		t.Fatal(err)
	}
	return dimse.StoreRequest{SOPClassUID: dcm.Comprehensive3DSRStorage, SOPInstanceUID: uid, TransferSyntaxUID: dcm.ExplicitVRLittleEndian, Data: &b}
}

// received reads a request as a server does.
func received(t *testing.T, r *http.Request) *dcm.File {
	t.Helper()
	kind, p, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/related" || p["type"] != "application/dicom" || r.ContentLength <= 0 || r.Method != http.MethodPost {
		t.Errorf("%s %s, %d bytes: %v", r.Method, r.Header.Get("Content-Type"), r.ContentLength, err)
	}
	parts := multipart.NewReader(r.Body, p["boundary"])
	part, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(part)
	if err != nil || part.Header.Get("Content-Type") != "application/dicom" {
		t.Errorf("%v, error %v", part.Header, err)
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("more parts: %v", err)
	}
	f, err := dcm.Read(bytes.NewReader(raw), int64(len(raw)), dcm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const jsonHead = `{"00081190":{"vr":"UR","Value":["https://x/"]},`

// failed is an answer about an object that failed; more are further attributes of its item.
func failed(uid string, reason int, more string) string {
	return fmt.Sprintf(`{"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":[%q]},"00081197":{"vr":"US","Value":[%d]}%s}]}}`, uid, reason, more)
}

// TestAnswers: what each answer of a server means.
func TestAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		code   int
		kind   string
		body   string
		status dimse.Status // with *dimse.StatusError if it is a failure
		denied bool         // with *Error
		refuse bool
		passes bool // neither denied nor refused
		says   string
		has    int // what a question for the metadata is answered with; 0: not found
	}{
		"stored":            {200, "application/dicom+json", jsonHead + `"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3.4"]}}]}}`, 0, false, false, false, "", 0},
		"in an array":       {200, "application/dicom+json", `[` + jsonHead + `"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3.4"]},"00081196":{"vr":"US","Value":[45063]}}]}}]`, dimse.WarnDataSetMismatch, false, false, false, "", 0},
		"with warning":      {202, "application/dicom+json", jsonHead + `"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3.4"]},"00081196":{"vr":"US","Value":[45056]}}]}}`, dimse.CoercedElements, false, false, false, "", 0},
		"failed":            {202, "application/dicom+json", jsonHead + `"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3.4"]},"00081197":{"vr":"US","Value":[290]}}]}}`, dimse.SOPClassNotSupported, false, false, false, "0122H", 0},
		"conflict":          {409, "application/dicom+json", `{"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3.4"]},"00081197":{"vr":"US","Value":[42752]}}]}}`, dimse.OutOfResources, false, false, false, "A700H", 0},
		"failed, no reason": {409, "application/dicom+json", `{"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3.4"]}}]}}`, dimse.ProcessingFailure, false, false, false, "0110H", 0},
		"failed in XML": {409, "application/dicom+xml", `<?xml version="1.0"?><NativeDicomModel><DicomAttribute tag="00081198" vr="SQ" keyword="FailedSOPSequence"><Item number="1">` +
			`<DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.3.4</Value></DicomAttribute><DicomAttribute tag="00081197" vr="US"><Value number="1">43264</Value></DicomAttribute>` +
			`</Item></DicomAttribute></NativeDicomModel>`, dimse.DataSetMismatch, false, false, false, "A900H", 0},
		"another failed":   {202, "application/dicom+json", `{"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["9.9"]},"00081197":{"vr":"US","Value":[290]}}]}}`, 0, false, false, false, "", 0},
		"nothing said":     {200, "", "", 0, false, false, false, "", 0},
		"nonsense said":    {200, "application/dicom+json", `[[[[[{"`, 0, false, false, false, "", 0},
		"conflict, mute":   {409, "text/plain", "already there, and different", 0, false, true, false, "already there", 0},
		"there, 0111H":     {409, "application/dicom+json", failed("1.2.3.4", 273, ""), dimse.DuplicateInstance, false, false, false, "0111H", 0},
		"there, Azure":     {409, "application/dicom+json", failed("1.2.3.4", 45070, ""), dimse.DuplicateInstance, false, false, false, "0111H", 0},
		"there, in a word": {200, "application/dicom+json", failed("1.2.3.4", 272, `,"00000902":{"vr":"LO","Value":["Instance ALREADY exists"]}`), dimse.DuplicateInstance, false, false, false, "Instance ALREADY exists", 0},
		"there, Google": {409, "application/dicom+xml", `<NativeDicomModel><DicomAttribute tag="00081198" vr="SQ"><Item number="1"><DicomAttribute tag="00081197" vr="US"><Value number="1">272</Value></DicomAttribute>` +
			`<DicomAttribute tag="00090097" vr="LT" privateCreator="GOOGLE"><Value number="1">already exists</Value></DicomAttribute><DicomAttribute tag="00081150" vr="UI"><Value number="1">1.2</Value></DicomAttribute>` +
			`<DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.3.4</Value></DicomAttribute></Item></DicomAttribute></NativeDicomModel>`, dimse.DuplicateInstance, false, false, false, "HTTP 409: already exists", 0},
		"there, plain text":      {409, "text/plain", "the instance already exists", dimse.DuplicateInstance, false, false, false, "already exists", 0},
		"there when asked":       {409, "application/dicom+json", failed("1.2.3.4", 272, ""), dimse.DuplicateInstance, false, false, false, "the server has the instance", 200},
		"there when asked, mute": {409, "text/plain", "", dimse.DuplicateInstance, false, false, false, "the server has the instance", 200},
		"not there when asked":   {409, "application/dicom+json", failed("1.2.3.4", 272, `,"00090010":{"vr":"LO","Value":["VENDOR"]},"00091097":{"vr":"LT","Value":["no\u0007 room\nleft"]}`), dimse.ProcessingFailure, false, false, false, "HTTP 409: no room left", 0},
		"may not ask":            {409, "application/dicom+json", failed("1.2.3.4", 272, ""), dimse.ProcessingFailure, false, false, false, "0110H", 403},
		"another reason":         {409, "application/dicom+json", failed("1.2.3.4", 290, ""), dimse.SOPClassNotSupported, false, false, false, "0122H", 200},
		"long words":             {202, "application/dicom+json", failed("1.2.3.4", 272, `,"00000902":{"vr":"LO","Value":["`+strings.Repeat("x", 5000)+`"]}`), dimse.ProcessingFailure, false, false, false, strings.Repeat("x", 300), 0},

		"bad request":     {400, "text/html", "<html>no</html>", 0, false, true, false, "HTTP 400", 0},
		"too large":       {413, "", "", 0, false, true, false, "HTTP 413", 0},
		"media type":      {415, "", "", 0, false, true, false, "HTTP 415", 0},
		"unauthorized":    {401, "", "", 0, true, false, false, "token_file", 0},
		"forbidden":       {403, "", "", 0, true, false, false, "token_file", 0},
		"not found":       {404, "", "", 0, true, false, false, "check url", 0},
		"elsewhere":       {307, "", "", 0, true, false, false, "https://elsewhere.example.org/studies", 0},
		"too many":        {429, "", "", 0, false, false, true, "HTTP 429", 0},
		"fault":           {500, "", "disk full", 0, false, false, true, "disk full", 0},
		"not now":         {503, "", "", 0, false, false, true, "HTTP 503", 0},
		"broken off":      {-1, "", "", 0, false, false, true, "", 0},
		"answer too long": {200, "text/plain", strings.Repeat("x", 2<<20), 0, false, false, false, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					if r.URL.Path != "/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4/metadata" {
						t.Errorf("asked for %s", r.URL.Path)
					}
					w.WriteHeader(cmp.Or(tt.has, http.StatusNotFound))
					_, _ = io.WriteString(w, `[{"00080018":{"vr":"UI","Value":["1.2.3.4"]}}]`)
					return
				}
				f := received(t, r)
				if r.URL.Path != "/dicom-web/studies" || f.Data.String(dcm.PatientName) != "Prüf^Änne" || f.Meta.TransferSyntaxUID != dcm.ExplicitVRLittleEndian {
					t.Errorf("%s: %q in %s", r.URL.Path, f.Data.String(dcm.PatientName), f.Meta.TransferSyntaxUID)
				}
				if tt.code < 0 {
					panic(http.ErrAbortHandler)
				}
				w.Header().Set("Content-Type", tt.kind)
				w.Header().Set("Location", "https://elsewhere.example.org/studies")
				w.WriteHeader(tt.code)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			c, err := New(Options{URL: server.URL + "/dicom-web/"})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Abort()
			status, err := c.Store(t.Context(), request(t))
			var said *dimse.StatusError
			var web *Error
			switch {
			case tt.status.Failure():
				if !errors.As(err, &said) || said.Status != tt.status || status != tt.status {
					t.Errorf("status %s, error %v", status, err)
				}
			case tt.denied || tt.refuse:
				if !errors.As(err, &web) || web.Denied() != tt.denied || web.Refused() != tt.refuse {
					t.Errorf("error %v", err)
				}
			case tt.passes:
				if err == nil || errors.As(err, &web) && (web.Denied() || web.Refused()) || errors.As(err, &said) {
					t.Errorf("error %v", err)
				}
			default:
				if err != nil || status != tt.status {
					t.Errorf("status %s, error %v", status, err)
				}
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("%d letters", len(err.Error()))
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q in it", err, tt.says)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	token, pair := filepath.Join(dir, "token"), filepath.Join(dir, "pair")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(token, "first\n")
	write(pair, "ichor:geheim\n")
	var got []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.Header.Get("Authorization")) }))
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	store := func(o Options) error {
		t.Helper()
		o.URL = server.URL + "/studies"
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Store(t.Context(), request(t))
		return errors.Join(err, c.Release(t.Context()))
	}
	ours := &tls.Config{RootCAs: pool}
	for _, o := range []Options{{TLS: ours}, {TLS: ours.Clone(), Authorization: Bearer(token)}, {TLS: ours.Clone(), Authorization: Basic(pair)}} {
		if err := store(o); err != nil {
			t.Error(err)
		}
	}
	write(token, "second")
	if err := store(Options{TLS: ours.Clone(), Authorization: Bearer(token)}); err != nil {
		t.Error(err)
	}
	want := []string{"", "Bearer first", "Basic " + base64.StdEncoding.EncodeToString([]byte("ichor:geheim")), "Bearer second"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
	var web *Error
	for name, a := range map[string]func() (string, error){"gone": Bearer(filepath.Join(dir, "gone")), "no colon": Basic(token), "empty": Bearer(filepath.Join(dir, "empty"))} {
		write(filepath.Join(dir, "empty"), "\n")
		if err := store(Options{TLS: ours.Clone(), Authorization: a}); !errors.As(err, &web) || !web.Denied() || strings.Contains(err.Error(), "second") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := store(Options{}); err == nil {
		t.Error("a certificate that nobody we know signed was taken")
	}
	if len(got) != len(want) {
		t.Errorf("credentials were sent where they should not: %q", got[len(want):])
	}
}

func TestURL(t *testing.T) {
	for text, want := range map[string]string{
		"https://h/dicom-web":          "https://h/dicom-web/studies",
		"https://h/dicom-web/studies/": "https://h/dicom-web/studies",
		"http://127.0.0.1:8042":        "http://127.0.0.1:8042/studies",
		"ftp://h/":                     "", "h/dicom-web": "", "https://u:secret@h/": "", "https://h/?a=b": "", "": "",
	} {
		c, err := New(Options{URL: text})
		if (err == nil) != (want != "") || err == nil && c.target != want || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestSilence holds that a server which takes a request and never answers is given up.
func TestSilence(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
	}))
	defer server.Close()
	defer close(release)
	c, err := New(Options{URL: server.URL, ResponseTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Store(t.Context(), request(t)); err == nil {
		t.Error("stored")
	}
}

func TestProbe(t *testing.T) {
	code, store := 200, 0 // answers to OPTIONS and to POST; 0: the same
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, _ := io.ReadAll(r.Body); r.Method == http.MethodPost && (len(text) > 30 || !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/related")) {
			t.Errorf("not empty: %q", text)
		}
		if r.Method == http.MethodPost && store != 0 {
			w.WriteHeader(store)
			return
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "words")
	}))
	c, err := New(Options{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		code, store int
		ok          bool
	}{{200, 0, true}, {204, 0, true}, {405, 0, true}, {401, 0, false}, {404, 0, false}, {404, 400, true}, {404, 401, false}} {
		code, store = tt.code, tt.store
		if err := c.Probe(t.Context()); (err == nil) != tt.ok {
			t.Errorf("HTTP %d: %v", tt.code, err)
		}
	}
	c.Abort()
	server.Close()
	if err := c.Probe(t.Context()); err == nil {
		t.Error("a server that is gone answers")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(jsonHead+`"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.3.4"]}}]}}`), "application/dicom+json")
	f.Add([]byte(`<NativeDicomModel><DicomAttribute tag="00081198" vr="SQ"><Item number="1"/></DicomAttribute></NativeDicomModel>`), "application/dicom+xml")
	f.Fuzz(func(t *testing.T, text []byte, kind string) { parse(kind, text) })
}
