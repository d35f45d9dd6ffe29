package stow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"ichor/scp/commitment"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

// askEvery is the time between two questions for a result that is not ready.
const askEvery = time.Second

// Action asks for Storage Commitment (PS3.18 §13.4): n is that of an N-ACTION. The result comes to Options.Events as the
// event report of an archive would, from here or from Await. A service without commitment is ul.ErrNoContext.
func (c *Client) Action(ctx context.Context, n dimse.Notice) (dimse.Status, error) {
	r, err := commitment.DecodeRequest(n.Data, n.TransferSyntaxUID)
	if err != nil {
		return dimse.InvalidArgument, err
	}
	type attribute struct {
		VR    string `json:"vr"`
		Value []any  `json:"Value"`
	}
	var items []any
	for _, ref := range r.References {
		items = append(items, map[string]attribute{classUID: {"UI", []any{ref.SOPClassUID}}, instanceUID: {"UI", []any{ref.SOPInstanceUID}}})
	}
	body, err := json.Marshal(map[string]attribute{referencedSequence: {"SQ", items}})
	if err != nil {
		return dimse.ProcessingFailure, err
	}
	c.asked = &r
	if _, err = c.transact(ctx, http.MethodPost, body); err != nil {
		c.asked = nil
		return dimse.ProcessingFailure, err
	}
	return dimse.StatusSuccess, nil
}

// Await asks for the result of Action after a while, d at most (PS3.18 §13.5), and reports whether it was there.
func (c *Client) Await(ctx context.Context, d time.Duration) (bool, error) {
	timer := time.NewTimer(min(d, askEvery))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-timer.C:
	}
	if c.asked == nil {
		return false, nil
	}
	return c.transact(ctx, http.MethodGet, nil)
}

// transact does one transaction about what was asked, and hands the result on if it is there.
func (c *Client) transact(ctx context.Context, method string, body []byte) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.o.ConnectTimeout+c.o.ResponseTimeout)
	defer cancel()
	target := strings.TrimSuffix(c.target, "/studies") + "/commitment-requests/" + c.asked.TransactionUID
	rq, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	if method == http.MethodPost {
		rq.Header.Set("Content-Type", "application/dicom+json")
	}
	rq.Header.Set("Accept", "application/dicom+json")
	answer, err := c.do(rq)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return false, fmt.Errorf("storage commitment: answer %s broke off: %w", answer.Status, err)
	}
	switch answer.StatusCode {
	case http.StatusAccepted: // in progress
		return false, nil
	case http.StatusOK:
		return c.tell(parse(answer.Header.Get("Content-Type"), text))
	}
	e := deny(answer)
	if e.Words = words(text); e.Denied() {
		return false, fmt.Errorf("%w: %w; set commitment: false for this destination", ul.ErrNoContext, e)
	}
	return false, e
}

// tell hands a result on as an event report. What it does not name is not committed to; a result that names nothing is none.
func (c *Client) tell(list map[string]outcome) (done bool, err error) {
	result := commitment.Result{TransactionUID: c.asked.TransactionUID}
	for _, ref := range c.asked.References {
		switch o, known := list[ref.SOPInstanceUID]; {
		case !known:
		case o.failed:
			result.Failed = append(result.Failed, commitment.Failure{Reference: ref, Reason: commitment.Reason(o.reason)})
		default:
			result.Committed = append(result.Committed, ref)
		}
	}
	if len(result.Failed)+len(result.Committed) == 0 {
		return false, nil
	}
	data, err := result.Encode(dcm.ExplicitVRLittleEndian)
	if err != nil {
		return false, err
	}
	c.asked = nil
	if c.o.Events == nil {
		return false, errors.New("storage commitment: nobody takes the result")
	}
	status := c.o.Events(dimse.Event{SOPClassUID: dcm.StorageCommitmentPushModel, SOPInstanceUID: dcm.StorageCommitmentPushModelInstance,
		Type: result.EventType(), TransferSyntaxUID: dcm.ExplicitVRLittleEndian, Data: data})
	if !status.Success() {
		return false, fmt.Errorf("storage commitment: result not recorded: %w", &dimse.StatusError{Status: status})
	}
	return true, nil
}
