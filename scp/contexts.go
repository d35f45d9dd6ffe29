package scp

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"ichor/scp/dcm"
	"ichor/scp/ul"
)

// transferSyntaxes are accepted if Options lists none, in order of preference: explicit VR needs no dictionary, deflated
// costs time on both sides.
var transferSyntaxes = []string{
	dcm.ExplicitVRLittleEndian,
	dcm.ImplicitVRLittleEndian,
	dcm.DeflatedExplicitVRLittleEndian,
}

// All classes that a study can contain are stored, even if they are not analysed: some senders propose a whole study in one
// association and give up if one class is rejected.
const (
	standardRoot = "1.2.840.10008."
	storageRoot  = "1.2.840.10008.5.1.4.1.1." // of nearly all Storage SOP classes (PS3.4 Table B.5-1), those to come too
)

// otherStorage are the storage SOP classes outside storageRoot whose objects belong to a study.
var otherStorage = []string{
	"1.2.840.10008.5.1.1.27",    // Stored Print, retired
	"1.2.840.10008.5.1.1.29",    // Hardcopy Grayscale Image, retired
	"1.2.840.10008.5.1.1.30",    // Hardcopy Color Image, retired
	"1.2.840.10008.5.1.4.34.7",  // RT Beams Delivery Instruction
	"1.2.840.10008.5.1.4.34.10", // RT Brachy Application Setup Delivery Instruction
}

// privateServices are the roots of private SOP classes other than storage: query and retrieve of dcm4che.
var privateServices = []string{"1.2.40.0.13.1.5.1.4.1.2."}

// stores reports whether objects of a SOP class are stored.
func (s *session) stores(sopClass string) bool {
	if !strings.HasPrefix(sopClass, standardRoot) {
		return s.o.PrivateClasses && !slices.ContainsFunc(privateServices, func(root string) bool { return strings.HasPrefix(sopClass, root) })
	}
	return strings.HasPrefix(sopClass, storageRoot) || slices.Contains(otherStorage, sopClass)
}

// supported returns the transfer syntaxes for an abstract syntax: those in the options for storage, and uncompressed ones
// for the others, which have no pixels.
func (s *session) supported(abstractSyntax string) []string {
	switch {
	case s.stores(abstractSyntax):
		return append(slices.Clone(s.o.TransferSyntaxes), s.undecodable(abstractSyntax)...)
	case abstractSyntax == dcm.VerificationSOPClass:
		return transferSyntaxes
	case abstractSyntax == dcm.StorageCommitmentPushModel && s.o.Commitments != nil:
		return transferSyntaxes[:2] // these data sets are too small to deflate
	}
	return nil
}

// undecodable returns the other transfer syntaxes that a peer proposes for a SOP class if it proposes none that can be decoded.
// Such objects are stored as they are, and the finding says that their pixels cannot be read.
func (s *session) undecodable(sopClass string) (list []string) {
	for _, c := range s.rq.Contexts {
		if c.AbstractSyntax != sopClass {
			continue
		}
		for _, ts := range c.TransferSyntaxes {
			if slices.Contains(s.o.TransferSyntaxes, ts) {
				return nil
			}
			if dcm.Readable(ts) {
				list = append(list, ts)
			}
		}
	}
	return list
}

// tellAccepted logs the accepted contexts at level debug.
func (s *session) tellAccepted(results []ul.ContextResult) {
	if !s.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	var list []string
	for i, r := range results {
		if r.Result == ul.ContextAccepted {
			list = append(list, fmt.Sprintf("%d %s, %s", r.ID, dcm.UIDName(s.rq.Contexts[i].AbstractSyntax), dcm.UIDName(r.TransferSyntax)))
		}
	}
	s.log.Debug("presentation contexts accepted", "contexts", strings.Join(list, "; "))
}

// tellUnsupported logs the proposals that were not accepted, in one line, and passes them to Events.
func (s *session) tellUnsupported(results []ul.ContextResult) {
	type proposal struct{ class, reason string }
	count := map[proposal]int{}
	for i, r := range results {
		switch p := (proposal{class: s.rq.Contexts[i].AbstractSyntax}); r.Result {
		case ul.ContextAccepted:
		case ul.ContextTransferUnsupported:
			// One context for each transfer syntax is usual; the class is stored when one of them is accepted.
			if !slices.ContainsFunc(s.rq.Contexts, func(c ul.ProposedContext) bool {
				k := slices.IndexFunc(results, func(r ul.ContextResult) bool { return r.ID == c.ID })
				return c.AbstractSyntax == p.class && results[k].Result == ul.ContextAccepted
			}) {
				p.reason = UnsupportedTransferSyntax
				count[p]++
			}
		default:
			p.reason = UnsupportedClass
			count[p]++
		}
	}
	if len(count) == 0 {
		return
	}
	const shown = 8
	var words []string
	for p, n := range count {
		words = append(words, fmt.Sprintf("%s (%s, %d)", dcm.UIDName(p.class), p.reason, n))
		s.event(Event{Kind: Unsupported, SOPClassUID: p.class, Reason: p.reason, Count: n, Untold: !s.told})
	}
	slices.Sort(words)
	if len(words) > shown {
		words = append(words[:shown], fmt.Sprintf("and %d more", len(words)-shown))
	}
	s.log.Log(context.Background(), level(s.told, slog.LevelWarn), "presentation contexts not accepted", "contexts", strings.Join(words, ", "))
}

// mayServe reports whether a caller may be SCP of a SOP class: only of Storage Commitment, to report on objects that we
// delivered to it (PS3.4 §J.3.3).
func (s *session) mayServe(sopClass string) bool {
	return sopClass == dcm.StorageCommitmentPushModel && s.o.Commitments != nil
}
