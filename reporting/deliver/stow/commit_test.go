package stow

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"ichor/scp/commitment"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

// TestCommitment: what a server answers to a request for commitment, at once or when it is asked again.
func TestCommitment(t *testing.T) {
	t.Parallel()
	both := `{"00081199":{"vr":"SQ","Value":[{"00081150":{"vr":"UI","Value":["1.5"]},"00081155":{"vr":"UI","Value":["1.2.1"]}}]},` +
		`"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2.2"]},"00081197":{"vr":"US","Value":[274]}}]}}`
	for name, tt := range map[string]struct {
		codes   []int // of the request and of the questions after it
		body    string
		result  bool // was told
		offered bool
		fails   bool // otherwise
	}{
		"at once":        {[]int{200}, both, true, true, false},
		"when asked":     {[]int{202, 202, 200}, both, true, true, false},
		"never":          {[]int{202, 202, 202}, "", false, true, false},
		"says nothing":   {[]int{200, 202, 202}, "{}", false, true, false},
		"not offered":    {[]int{404}, "", false, false, false},
		"not allowed":    {[]int{405}, "", false, false, false},
		"not known here": {[]int{501}, "", false, false, false},
		"fault":          {[]int{500}, "", false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var methods []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				code := tt.codes[min(len(methods), len(tt.codes)-1)]
				methods = append(methods, r.Method)
				if r.URL.Path != "/dicom-web/commitment-requests/2.25.7" {
					t.Errorf("asked at %s", r.URL.Path)
				}
				if r.Method == http.MethodPost {
					var module map[string]struct {
						VR    string
						Value []map[string]struct{ Value []string }
					}
					raw, _ := io.ReadAll(r.Body)
					err := json.Unmarshal(raw, &module)
					items := module["00081199"].Value
					if err != nil || len(items) != 2 || items[1]["00081155"].Value[0] != "1.2.2" || items[0]["00081150"].Value[0] != "1.5" || r.Header.Get("Content-Type") != "application/dicom+json" {
						t.Errorf("request %s, %v", raw, err)
					}
				}
				w.Header().Set("Content-Type", "application/dicom+json")
				w.WriteHeader(code)
				if code == http.StatusOK {
					fmt.Fprint(w, tt.body)
				}
			}))
			defer server.Close()
			var told []commitment.Result
			c, err := New(Options{URL: server.URL + "/dicom-web", Events: func(e dimse.Event) dimse.Status {
				r, err := commitment.DecodeResult(e.Data, e.TransferSyntaxUID)
				if err != nil || e.Type != commitment.EventFailures || e.SOPClassUID != dcm.StorageCommitmentPushModel {
					t.Errorf("%+v, %v", e, err)
				}
				told = append(told, r)
				return dimse.StatusSuccess
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Abort()
			data, err := commitment.Request{TransactionUID: "2.25.7", References: []commitment.Reference{{SOPClassUID: "1.5", SOPInstanceUID: "1.2.1"},
				{SOPClassUID: "1.5", SOPInstanceUID: "1.2.2"}}}.Encode(dcm.ExplicitVRLittleEndian)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Action(t.Context(), dimse.Notice{Type: commitment.ActionRequest, TransferSyntaxUID: dcm.ExplicitVRLittleEndian, Data: data})
			if errors.Is(err, ul.ErrNoContext) == tt.offered || (err != nil) != (tt.fails || !tt.offered) {
				t.Fatalf("request: %v", err)
			}
			for range 2 {
				if _, err := c.Await(t.Context(), time.Millisecond); err != nil {
					t.Errorf("question: %v", err)
				}
			}
			if !slices.Equal(methods, append([]string{"POST"}, slices.Repeat([]string{"GET"}, len(tt.codes)-1)...)) {
				t.Errorf("requests %q", methods)
			}
			if !tt.result {
				if len(told) > 0 {
					t.Errorf("told %+v", told)
				}
				return
			}
			if len(told) != 1 || told[0].TransactionUID != "2.25.7" || len(told[0].Committed) != 1 || told[0].Committed[0].SOPInstanceUID != "1.2.1" ||
				len(told[0].Failed) != 1 || told[0].Failed[0].SOPInstanceUID != "1.2.2" || told[0].Failed[0].Reason != commitment.NoSuchObject {
				t.Errorf("told %+v", told)
			}
		})
	}
}
