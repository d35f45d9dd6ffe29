package dcm

import (
	"fmt"
	"io"
)

// ReadDataSet reads the data set of a message, which has no file meta information, in the transfer syntax of its presentation
// context, without pixel data. Errors as for Read.
func ReadDataSet(r io.Reader, transferSyntax string, lim Limits) (*DataSet, error) {
	lim = lim.withDefaults()
	syn, deflated, err := syntaxOf(transferSyntax)
	if err != nil {
		return nil, err
	}
	w := &window{r: r, size: -1, max: lim.HeaderBytes, total: lim.HeaderBytes}
	if deflated {
		w = inflated(r, lim)
	}
	s := &scanner{w: w, lim: lim}
	if err := s.scan(s.sniff(syn)); err != nil {
		return nil, err
	}
	d, _, err := build(s.w.buf, s.spans, lim)
	return d, err
}

// EncodeInformation encodes action or event information or an identifier in Implicit or Explicit VR Little Endian. It allows
// only UIDs, codes and numbers, which need no Specific Character Set; text is ErrEncoding.
func EncodeInformation(d *DataSet, transferSyntax string) ([]byte, error) {
	if transferSyntax != ImplicitVRLittleEndian && transferSyntax != ExplicitVRLittleEndian {
		return nil, fmt.Errorf("writing information in transfer syntax %s: %w", UIDName(transferSyntax), ErrTransferSyntax)
	}
	e := &encoder{implicit: transferSyntax == ImplicitVRLittleEndian}
	for _, el := range d.Elements() {
		if el.VR.charset() {
			return nil, fmt.Errorf("%s is text: %w", el.Tag, ErrEncoding)
		}
		if err := e.element(el, 0); err != nil {
			return nil, err
		}
	}
	return e.buf, nil
}
