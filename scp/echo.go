package scp

import (
	"ichor/scp/dcm"
	"ichor/scp/dimse"
)

// echo answers a C-ECHO (PS3.7 §9.1.5).
func (s *session) echo(m *dimse.Message) error {
	if m.Context.AbstractSyntax != dcm.VerificationSOPClass {
		return s.refuse(m, dimse.SOPClassNotSupported, "C-ECHO on a context of another SOP class")
	}
	s.event(Event{Kind: Echoed, Status: dimse.StatusSuccess})
	return s.conn.Respond(m, dimse.StatusSuccess, "")
}
