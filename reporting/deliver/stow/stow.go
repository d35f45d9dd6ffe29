// Package stow stores objects over HTTP: STOW-RS, the Store transaction of the Studies service (PS3.18 §10.5), and asks for
// commitment (PS3.18 §13).
//
// Each object is sent in its own request on a persistent connection, so that a response concerns one object, as with C-STORE.
package stow

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"ichor/scp/commitment"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
)

// Options configure a Client. URL is required.
type Options struct {
	URL string // of the DICOMweb service, such as https://pacs.example.org/dicom-web; /studies is appended if missing
	// Authorization returns the value of the Authorization header for a request; nil: send none.
	Authorization func() (string, error)
	TLS           *tls.Config // nil: trust the authorities of the system
	// Events takes the results of Storage Commitment; nil: it is not asked for.
	Events func(dimse.Event) dimse.Status

	ConnectTimeout  time.Duration // TCP and TLS, each; 15 s
	ResponseTimeout time.Duration // from the end of a request to its response; 120 s
}

// slowest is the rate, in bytes per second, below which a request is aborted.
const slowest = 32 << 10

// maxAnswer bounds how much of a response is read.
const maxAnswer = 1 << 20

// Client stores objects, one at a time. Use it for one batch, then call Release or Abort.
type Client struct {
	o      Options
	target string
	http   *http.Client
	asked  *commitment.Request // whose result is not known yet; nil: none
}

// New checks the URL. It sends nothing before Store.
func New(o Options) (*Client, error) {
	target, err := studies(o.URL)
	if err != nil {
		return nil, err
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 15 * time.Second
	}
	if o.ResponseTimeout <= 0 {
		o.ResponseTimeout = 2 * time.Minute
	}
	dialer := &net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: time.Minute}
	return &Client{o: o, target: target, http: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: o.TLS, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: o.ConnectTimeout, ResponseHeaderTimeout: o.ResponseTimeout,
			MaxConnsPerHost: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
		// Do not follow redirects: another server would get the object and our credentials. The operator must decide that.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func studies(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("url %q: write https://host/path of the DICOMweb service, without user, query and fragment", redacted(text))
	}
	if path := strings.TrimRight(u.Path, "/"); !strings.HasSuffix(path, "/studies") {
		u.Path = path + "/studies"
	} else {
		u.Path = path
	}
	return u.String(), nil
}

// redacted returns a URL without credentials.
func redacted(text string) string {
	if u, err := url.Parse(text); err == nil {
		return u.Redacted()
	}
	return "(not a URL)"
}

// Accepted returns the only transfer syntax that every origin server must support (PS3.18 §8.7.3).
func (c *Client) Accepted(string) []string { return []string{dcm.ExplicitVRLittleEndian} }

// Store runs a Store transaction with one object. Status and error are as for dimse.SCU.Store: an error about the object is a
// *dimse.StatusError, one about the request an *Error. Any other error means that no response came.
func (c *Client) Store(ctx context.Context, r dimse.StoreRequest) (dimse.Status, error) {
	body, dataSet, boundary, err := pack(r)
	if err != nil {
		return dimse.ProcessingFailure, err
	}
	limit := 2*c.o.ConnectTimeout + c.o.ResponseTimeout + time.Duration(len(body)/slowest)*time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	rq, err := http.NewRequestWithContext(ctx, http.MethodPost, c.target, bytes.NewReader(body))
	if err != nil {
		return dimse.ProcessingFailure, err
	}
	rq.Header.Set("Content-Type", mime.FormatMediaType("multipart/related", map[string]string{"type": "application/dicom", "boundary": boundary}))
	rq.Header.Set("Accept", "application/dicom+json")
	answer, err := c.do(rq)
	if err != nil {
		return dimse.ProcessingFailure, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return dimse.ProcessingFailure, fmt.Errorf("STOW-RS: response %s incomplete: %w", answer.Status, err)
	}
	status, err := judge(answer, text, r.SOPInstanceUID)
	// Servers give reasons of their own for an instance that they have: it may be asked whether this is one.
	if unclear := status == dimse.ProcessingFailure; err != nil && unclear && answer.StatusCode == http.StatusConflict && c.has(ctx, dataSet, r) {
		status = dimse.DuplicateInstance
		err = failure(status, answer.StatusCode, "the server has the instance")
	}
	return status, err
}

// has asks whether the server gives the metadata of an object (PS3.18 §10.4).
func (c *Client) has(ctx context.Context, dataSet []byte, r dimse.StoreRequest) bool {
	id, err := dcm.Check(bytes.NewReader(dataSet), int64(len(dataSet)), r.TransferSyntaxUID)
	if err != nil || !dcm.PlausibleUID(id.StudyInstanceUID) || !dcm.PlausibleUID(id.SeriesInstanceUID) {
		return false
	}
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet,
		c.target+"/"+id.StudyInstanceUID+"/series/"+id.SeriesInstanceUID+"/instances/"+r.SOPInstanceUID+"/metadata", nil)
	if err != nil {
		return false
	}
	rq.Header.Set("Accept", "application/dicom+json")
	answer, err := c.do(rq)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	return err == nil && answer.StatusCode == http.StatusOK && readJSON(text).values[sopInstanceUID] == r.SOPInstanceUID
}

func (c *Client) do(rq *http.Request) (*http.Response, error) {
	rq.Header.Set("User-Agent", dcm.ImplementationVersionName)
	if c.o.Authorization != nil {
		value, err := c.o.Authorization()
		if err != nil {
			return nil, &Error{Code: http.StatusUnauthorized, Words: err.Error()}
		}
		rq.Header.Set("Authorization", value)
	}
	answer, err := c.http.Do(rq)
	if err != nil {
		return nil, fmt.Errorf("STOW-RS: %w", err)
	}
	return answer, nil
}

// Probe checks whether the service exists and accepts our credentials, without storing anything. It asks by OPTIONS; a service that
// answers 404 to that, as Orthanc does, gets a Store transaction without an instance.
func (c *Client) Probe(ctx context.Context) error {
	rq, err := http.NewRequestWithContext(ctx, http.MethodOptions, c.target, nil)
	if err != nil {
		return err
	}
	answer, err := c.do(rq)
	if err != nil {
		return err
	}
	_ = answer.Body.Close() // frees the only connection
	e := deny(answer)
	switch {
	case e.Code == http.StatusNotFound:
		return c.storeNothing(ctx)
	case e.Code == http.StatusMethodNotAllowed, e.Code == http.StatusNotImplemented, !e.Denied():
		return nil // it exists; not every service supports OPTIONS
	}
	return e
}

// storeNothing posts a payload without a part. A Store transaction refuses it with a status that is no denial, mostly 400.
func (c *Client) storeNothing(ctx context.Context) error {
	const boundary = "ichor-probe"
	rq, err := http.NewRequestWithContext(ctx, http.MethodPost, c.target, strings.NewReader("--"+boundary+"--\r\n"))
	if err != nil {
		return err
	}
	rq.Header.Set("Content-Type", mime.FormatMediaType("multipart/related", map[string]string{"type": "application/dicom", "boundary": boundary}))
	rq.Header.Set("Accept", "application/dicom+json")
	answer, err := c.do(rq)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if e := deny(answer); e.Denied() {
		return e
	}
	return nil
}

// Release closes the client.
func (c *Client) Release(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// Abort does the same as Release: no request is in progress when it is called.
func (c *Client) Abort() { c.http.CloseIdleConnections() }

// pack builds the payload: one part with a Part 10 file (PS3.18 §8.6.1.2.1, §10.5.1).
func pack(r dimse.StoreRequest) (body, dataSet []byte, boundary string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/dicom"}})
	if err == nil {
		err = dcm.WriteMeta(part, dcm.FileMeta{SOPClassUID: r.SOPClassUID, SOPInstanceUID: r.SOPInstanceUID, TransferSyntaxUID: r.TransferSyntaxUID})
	}
	first := b.Len()
	if err == nil {
		_, err = io.Copy(part, r.Data)
	}
	end := b.Len()
	err = errors.Join(err, w.Close()) // before taking the bytes, because it writes the last boundary
	return b.Bytes(), b.Bytes()[first:end], w.Boundary(), err
}
