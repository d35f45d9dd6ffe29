package dimse

import (
	"bytes"
	"context"
	"fmt"
)

// Find sends a C-FIND (PS3.7 §9.1.2) with an identifier in transferSyntax. match is called with the identifier of each
// pending response, as received; if it returns an error, the association ends. Other errors as for Store.
func (s *SCU) Find(ctx context.Context, sopClass, transferSyntax string, identifier []byte, match func([]byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.context(sopClass, transferSyntax)
	if err != nil {
		return err
	}
	cmd := &Command{Field: CFindRQ, AffectedSOPClassUID: sopClass, HasDataSet: true}
	rsp, err := s.ask(ctx, c, cmd, bytes.NewReader(identifier))
	for err == nil && rsp.Status.Pending() {
		if err = match(s.information); err == nil {
			rsp, err = s.more(ctx, cmd)
		}
	}
	if err != nil {
		if !s.closed {
			s.assoc.Abort(err)
			s.end()
		}
		return fmt.Errorf("C-FIND: %w", err)
	}
	if !rsp.Status.Success() {
		return fmt.Errorf("C-FIND: %w", &StatusError{Status: rsp.Status, Comment: rsp.ErrorComment})
	}
	return nil
}

// more waits for the next response to cmd.
func (s *SCU) more(ctx context.Context, cmd *Command) (Command, error) {
	stop := context.AfterFunc(ctx, s.assoc.Interrupt)
	defer stop()
	rsp, err := s.response(cmd)
	if err != nil {
		s.end()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
	return rsp, err
}
