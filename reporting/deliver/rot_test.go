package deliver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/reporting/deliver/stow"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/receiver"
)

// rotten writes an object, with its digest, and then flips one bit of its file.
func rotten(t *testing.T, at int) state.Delivery {
	t.Helper()
	d, _ := result(t, t.TempDir(), "A", 0)
	raw, err := os.ReadFile(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	d.SHA256 = sum[:]
	if at %= len(raw); at >= 0 {
		raw[at] ^= 1
	}
	if err := os.WriteFile(d.Path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestRottenFile flips bits all over a file: its data set never comes out whole, in whichever transfer syntax.
func TestRottenFile(t *testing.T) {
	t.Parallel()
	for _, syntax := range []string{dcm.ExplicitVRLittleEndian, dcm.ImplicitVRLittleEndian} {
		good := rotten(t, -1)
		r, err := openObject(good, syntax)
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(r)
		if err != nil || len(want) < 4096 {
			t.Fatalf("%d bytes, %v", len(want), err)
		}
		for at := 0; at < int(good.Size); at += 97 {
			r, err := openObject(rotten(t, at), syntax)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(r)
				r.Close()
			}
			if !errors.Is(err, errRotten) || len(got) >= len(want) {
				t.Errorf("bit at %d flipped: %d of %d bytes came, error %v", at, len(got), len(want), err)
			}
		}
	}
}

// TestVerifiedHoldsBack: of long data too, the end comes only when all of it is right; an error of the disk is told as it is.
func TestVerifiedHoldsBack(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	for _, n := range []int{0, 1, heldBack - 1, heldBack, heldBack + 1, 3 * heldBack, 3*heldBack + 5} {
		data := bytes.Repeat([]byte{7}, n)
		sum := sha256.Sum256(data)
		for name, tt := range map[string]struct {
			r    io.Reader
			want []byte
			err  error
		}{
			"right":  {bytes.NewReader(data), sum[:], nil},
			"wrong":  {bytes.NewReader(data), make([]byte, 32), errRotten},
			"broken": {io.MultiReader(bytes.NewReader(data), failing{broken}), sum[:], broken},
		} {
			got, err := io.ReadAll(&verified{r: tt.r, sum: sha256.New(), want: tt.want})
			if !errors.Is(err, tt.err) || tt.err == nil && !bytes.Equal(got, data) || tt.err != nil && len(got) >= max(n, 1) {
				t.Errorf("%s, %d bytes: %d came, %v", name, n, len(got), err)
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestRottenIsNotDelivered sends a rotten result to real peers, over DICOM and DICOMweb: neither stores it, it is a dead
// letter at once whose remedy writes it anew, and the association goes on to serve others.
func TestRottenIsNotDelivered(t *testing.T) {
	t.Parallel()
	peer, err := receiver.Start(receiver.Options{AETitle: "PACS", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	var whole atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			whole.Add(1)
		}
	}))
	defer web.Close()
	store, err := state.Open(t.TempDir() + "/state.db")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var list []state.Delivery
	for _, name := range []string{"A", "web"} {
		d := rotten(t, 3000)
		d.Destination = name
		list = append(list, d)
	}
	c, err := store.Queue("1.2.3", 1, "quiet 5s", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Finish(c.ID, 1, state.Conclusion{Finding: finding.Finding{Status: finding.Analyzed}, Deliveries: list}, time.Now()); err != nil {
		t.Fatal(err)
	}
	gone := make(chan Event, 9)
	d := New(Options{
		State: store, Events: func(e Event) { gone <- e },
		Destinations: []Destination{{Name: "A", Address: peer.Address(), CalledAE: "PACS", CallingAE: "ICHOR"}, {Name: "web", URL: web.URL}},
		Dial: func(ctx context.Context, d Destination, o dimse.ConnectOptions) (Peer, error) {
			if d.URL != "" {
				return stow.New(stow.Options{URL: d.URL})
			}
			return dimse.Connect(ctx, o)
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { d.Run(ctx); close(ended) }()
	for range 2 {
		if e := <-gone; e.Outcome != Dead || !errors.Is(e.Err, errRotten) {
			t.Errorf("%s: %s, %v", e.Delivery.Destination, e.Outcome, e.Err)
		}
	}
	cancel()
	<-ended
	if n := len(peer.Objects()); n != 0 || whole.Load() != 0 {
		t.Errorf("%d stored over DICOM, %d over DICOMweb", n, whole.Load())
	}
	letters, err := store.DeadLetters()
	if err != nil || len(letters) != 2 {
		t.Fatalf("%+v, %v", letters, err)
	}
	for _, l := range letters {
		if l.Tries != 1 || l.Cause != state.FileLost || !strings.Contains(Remedy(l.Cause), "ichor retry") || !strings.Contains(l.LastError, "changed on disk") {
			t.Errorf("%+v", l)
		}
	}
}
