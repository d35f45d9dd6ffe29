package main

import (
	"bytes"
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	"ichor/config"
	"ichor/pipeline/state"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

// TestCompleteByCount holds that a study is complete as soon as all that its sender has of it is here: long before the
// quiet period is over.
func TestCompleteByCount(t *testing.T) {
	t.Parallel()
	dir, _ := sampleStudy(t, "normal")
	files, _, err := findDICOM(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if err := answerCount(ul.NewAcceptor(conn, ul.Options{}), len(files)); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() { ln.Close(); <-ended })
	c := testConfig(t)
	c.Assembly.QuietPeriod, c.Assembly.Limit = time.Hour, time.Hour
	c.DICOM.Peers = []config.Peer{{AETitle: "TEST", Address: ln.Addr().String(), Find: true}}
	n := startNode(t, c)
	send(t, n.Addr(), dir)
	id := state.IDOf(files[0].StudyInstanceUID)
	eventually(t, "analysed", func() bool { c, err := n.State().Case(id); return err == nil && c.Phase == state.Analyzed })
	if c, err := n.State().Case(id); err != nil || c.Complete != "count "+strconv.Itoa(len(files)) || c.Finding.Complete != c.Complete || c.Objects != len(files) {
		t.Errorf("%+v, error %v", c, err)
	}
}

// answerCount is an archive that has count objects of every study.
func answerCount(a *ul.Association, count int) error {
	defer a.Close()
	rq, err := a.Request()
	if err != nil {
		return err
	}
	err = a.Accept(rq, ul.Negotiate(rq, func(string) []string { return []string{dcm.ImplicitVRLittleEndian} }),
		ul.UserInformation{ImplementationClass: dcm.ImplementationClassUID})
	if err != nil {
		return err
	}
	conn := dimse.NewConn(a)
	for {
		m, err := conn.Receive()
		if errors.Is(err, ul.ErrReleased) {
			return a.ConfirmRelease()
		}
		if err != nil {
			return err
		}
		query, err := dcm.ReadDataSet(m.Data, m.Context.TransferSyntax, dcm.Limits{})
		if err != nil {
			return err
		}
		match := &dcm.DataSet{}
		match.SetStrings(dcm.StudyInstanceUID, "UI", query.String(dcm.StudyInstanceUID))
		match.SetStrings(dcm.NumberOfStudyRelatedInstances, "IS", strconv.Itoa(count))
		data, err := dcm.EncodeInformation(match, m.Context.TransferSyntax)
		if err != nil {
			return err
		}
		pending := dimse.Command{Field: 0x8020, RespondedTo: m.Command.MessageID, Status: dimse.StatusPending, HasDataSet: true}
		if err := conn.Send(m.Context.ID, &pending, bytes.NewReader(data)); err != nil {
			return err
		}
		if err := conn.Respond(m, dimse.StatusSuccess, ""); err != nil {
			return err
		}
	}
}
