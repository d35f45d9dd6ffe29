package scp

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ichor/scp/dimse"
	"ichor/scp/spool"
)

// TestPynetdicomAsksForCommitment is pynetdicom as SCU of Storage Commitment, told on the same association and on one of
// our own.
func TestPynetdicomAsksForCommitment(t *testing.T) {
	py := python(t)
	_, paths := files(t, 2, 10_000)
	const want = "event 2\ncommitted 1.2.826.0.7.0\ncommitted 1.2.826.0.7.1\nfailed 1.2.3.999 0112\n"
	for _, mode := range []string{"same", "later"} {
		t.Run(mode, func(t *testing.T) {
			l := newLedger()
			a := serve(t, Options{Commitments: l, Peers: []Peer{{AETitle: "PYNETDICOM", Listens: mode == "later"}}}, spool.Options{})
			host, port, _ := net.SplitHostPort(a.address)
			cmd := exec.CommandContext(t.Context(), py, append([]string{"testdata/commit.py", host, port, mode}, paths...)...)
			cmd.Stderr = os.Stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			out := bufio.NewReader(stdout)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			close(ended)
			if mode == "later" {
				line, err := out.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				r := NewCallback(CallbackOptions{Spool: a.spool, Promises: l, Retry: 50 * time.Millisecond,
					Address: func(string) (dimse.ConnectOptions, bool) {
						return dimse.ConnectOptions{Address: "127.0.0.1:" + strings.TrimSpace(line), CallingAE: "ICHOR", CalledAE: "PYNETDICOM"}, true
					}})
				ended = make(chan struct{})
				go func() { _ = r.Run(ctx); close(ended) }()
			}
			text, err := io.ReadAll(out)
			if err != nil || string(text) != want {
				t.Errorf("%s, error %v", text, err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			cancel()
			<-ended
		})
	}
}
