package find

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

// archive answers C-FIND with made matches, by level.
type archive struct {
	matches map[string][]map[dcm.Tag]string
	final   dimse.Status
	junk    bool
	refuse  bool // the SOP class
}

func (a archive) start(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		if err := a.serve(t, ul.NewAcceptor(conn, ul.Options{})); err != nil && !a.junk {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-ended })
	return ln.Addr().String()
}

func (a archive) serve(t *testing.T, assoc *ul.Association) error {
	defer assoc.Close()
	rq, err := assoc.Request()
	if err != nil {
		return err
	}
	err = assoc.Accept(rq, ul.Negotiate(rq, func(string) []string {
		if a.refuse {
			return nil
		}
		return []string{dcm.ImplicitVRLittleEndian}
	}), ul.UserInformation{ImplementationClass: dcm.ImplementationClassUID})
	if err != nil {
		return err
	}
	conn := dimse.NewConn(assoc)
	for {
		m, err := conn.Receive()
		if errors.Is(err, ul.ErrReleased) {
			return assoc.ConfirmRelease()
		}
		if err != nil {
			return err
		}
		b, err := m.Information()
		if err != nil {
			return err
		}
		q, err := dcm.ReadDataSet(bytes.NewReader(b), m.Context.TransferSyntax, dcm.Limits{})
		if err != nil {
			return err
		}
		if q.String(dcm.StudyInstanceUID) != "1.2.3" {
			t.Errorf("asked for %q", q.String(dcm.StudyInstanceUID))
		}
		for _, match := range a.matches[q.String(dcm.QueryRetrieveLevel)] {
			d := &dcm.DataSet{}
			d.SetStrings(dcm.StudyInstanceUID, "UI", "1.2.3")
			for tag, v := range match {
				d.SetStrings(tag, tag.VR(), v)
			}
			b, err := dcm.EncodeInformation(d, m.Context.TransferSyntax)
			if err != nil {
				return err
			}
			if a.junk {
				b = []byte("\x10\x00\x10\x00\xff\xff\xff\x7fjunk")
			}
			rsp := dimse.Command{Field: 0x8020, RespondedTo: m.Command.MessageID, Status: dimse.StatusPending, HasDataSet: true}
			if err := conn.Send(m.Context.ID, &rsp, bytes.NewReader(b)); err != nil {
				return err
			}
		}
		if err := conn.Respond(m, a.final, ""); err != nil {
			return err
		}
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	type match = map[dcm.Tag]string
	study, series := dcm.NumberOfStudyRelatedInstances, dcm.NumberOfSeriesRelatedInstances
	for name, tt := range map[string]struct {
		a    archive
		want int
		err  error
	}{
		"of the study":     {archive{matches: map[string][]match{"STUDY": {{study: "35"}}}}, 35, nil},
		"of its series":    {archive{matches: map[string][]match{"STUDY": {{}}, "SERIES": {{series: "35"}, {series: "256"}}}}, 291, nil},
		"of some series":   {archive{matches: map[string][]match{"STUDY": {{}}, "SERIES": {{series: "35"}, {}}}}, 0, ErrUnknown},
		"not known":        {archive{}, 0, ErrUnknown},
		"of another study": {archive{matches: map[string][]match{"STUDY": {{study: "35", dcm.StudyInstanceUID: "1.2.4"}}}}, 0, ErrUnknown},
		"nonsense":         {archive{matches: map[string][]match{"STUDY": {{study: "-4"}}}}, 0, ErrUnknown},
		"refused":          {archive{refuse: true}, 0, ul.ErrNoContext},
		"junk":             {archive{junk: true, matches: map[string][]match{"STUDY": {{study: "35"}}}}, 0, dcm.ErrLimit},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := Count(t.Context(), dimse.ConnectOptions{Address: tt.a.start(t), CallingAE: "ICHOR", CalledAE: "PACS"}, "1.2.3")
			if n != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%d, error %v; want %d, %v", n, err, tt.want, tt.err)
			}
		})
	}
	a := archive{final: 0xA700, junk: true}
	var status *dimse.StatusError
	if _, err := Count(t.Context(), dimse.ConnectOptions{Address: a.start(t), CallingAE: "ICHOR", CalledAE: "PACS"}, "1.2.3"); !errors.As(err, &status) {
		t.Errorf("failure: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := Count(ctx, dimse.ConnectOptions{Address: a.start(t), CallingAE: "ICHOR", CalledAE: "PACS"}, "1.2.3"); err == nil {
		t.Error("answered after its time")
	}
}
