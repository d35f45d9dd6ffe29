// Package find asks a peer how many objects a study has (PS3.4 §C, Study Root Query/Retrieve Information Model - FIND).
package find

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

// studyRoot is Study Root Query/Retrieve Information Model - FIND (PS3.4 §C.6.2).
const studyRoot = "1.2.840.10008.5.1.4.1.2.2.1"

// ErrUnknown is returned when the peer does not know the study, or does not say how many objects it has.
var ErrUnknown = errors.New("the peer does not say how many objects the study has")

// maxMatches bounds the series of one study.
const maxMatches = 10_000

var syntaxes = []string{dcm.ExplicitVRLittleEndian, dcm.ImplicitVRLittleEndian}

// Count queries Number of Study Related Instances (0020,1208). If the peer omits it, as the standard allows, Count returns
// the sum of Number of Series Related Instances (0020,1209). o says which peer to ask; Count sets its contexts. Errors:
// those of dimse, and ErrUnknown. None of them contains the UID of the study.
func Count(ctx context.Context, o dimse.ConnectOptions, studyInstanceUID string) (int, error) {
	o.Contexts = []ul.ProposedContext{{AbstractSyntax: studyRoot, TransferSyntaxes: syntaxes}}
	scu, err := dimse.Connect(ctx, o)
	if err != nil {
		return 0, err
	}
	n, err := count(ctx, scu, studyInstanceUID)
	if err != nil && !errors.Is(err, ErrUnknown) && !errors.Is(err, ul.ErrNoContext) {
		scu.Abort()
		return 0, err
	}
	// The answer is valid even if the release fails.
	_ = scu.Release(ctx)
	return n, err
}

func count(ctx context.Context, scu *dimse.SCU, study string) (int, error) {
	n, err := sum(ctx, scu, study, "STUDY", dcm.NumberOfStudyRelatedInstances)
	if errors.Is(err, ErrUnknown) {
		n, err = sum(ctx, scu, study, "SERIES", dcm.NumberOfSeriesRelatedInstances)
	}
	return n, err
}

// sum returns the sum of an attribute over the matches on a level.
func sum(ctx context.Context, scu *dimse.SCU, study, level string, number dcm.Tag) (total int, err error) {
	accepted := scu.Accepted(studyRoot)
	if len(accepted) == 0 {
		return 0, fmt.Errorf("Study Root C-FIND: %w, configure the peer to answer queries", ul.ErrNoContext)
	}
	q := &dcm.DataSet{}
	q.SetStrings(dcm.QueryRetrieveLevel, "CS", level)
	q.SetStrings(dcm.StudyInstanceUID, "UI", study)
	if level == "SERIES" {
		q.SetStrings(dcm.SeriesInstanceUID, "UI")
	}
	q.SetStrings(number, "IS")
	identifier, err := dcm.EncodeInformation(q, accepted[0])
	if err != nil {
		return 0, err
	}
	matches, told := 0, 0
	err = scu.Find(ctx, studyRoot, accepted[0], identifier, func(b []byte) error {
		if matches++; matches > maxMatches {
			return fmt.Errorf("more than %d matches", maxMatches)
		}
		d, err := dcm.ReadDataSet(bytes.NewReader(b), accepted[0], dcm.Limits{Elements: 1000, HeaderBytes: 1 << 20})
		if err != nil {
			return fmt.Errorf("decoding a match: %w", err)
		}
		if uid := d.String(dcm.StudyInstanceUID); uid != study { // some peers return other studies too
			matches--
			return nil
		}
		if n, ok := d.Int(number); ok && n > 0 && n < 1<<24 {
			told++
			total += n
		}
		return nil
	})
	switch {
	case err != nil:
		return 0, err
	case matches == 0 || told < matches: // if a series has no number, the sum would be too small
		return 0, ErrUnknown
	}
	return total, nil
}
