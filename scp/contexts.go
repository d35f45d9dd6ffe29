package scp

import "ichor/scp/dcm"

// transferSyntaxes are taken where Options names none, the preferred first: explicit needs no dictionary, deflated costs
// time on both sides.
var transferSyntaxes = []string{
	dcm.ExplicitVRLittleEndian,
	dcm.ImplicitVRLittleEndian,
	dcm.DeflatedExplicitVRLittleEndian,
}

// storage are the SOP classes that are stored (PS3.4 §B.5): what a head CT is made of, and what comes
// along with one, so that a router's send of a whole study succeeds.
var storage = map[string]bool{
	dcm.CTImageStorage:                                  true,
	dcm.EnhancedCTImageStorage:                          true,
	dcm.LegacyConvertedEnhancedCTImageStorage:           true,
	dcm.SecondaryCaptureImageStorage:                    true,
	dcm.MultiFrameSingleBitSecondaryCaptureImageStorage: true,
	dcm.MultiFrameGrayscaleByteSecondaryCaptureStorage:  true,
	dcm.MultiFrameGrayscaleWordSecondaryCaptureStorage:  true,
	dcm.MultiFrameTrueColorSecondaryCaptureImageStorage: true,
	dcm.BasicTextSRStorage:                              true,
	dcm.EnhancedSRStorage:                               true,
	dcm.ComprehensiveSRStorage:                          true,
	dcm.Comprehensive3DSRStorage:                        true,
	dcm.XRayRadiationDoseSRStorage:                      true,
	dcm.PatientRadiationDoseSRStorage:                   true,
	dcm.KeyObjectSelectionDocumentStorage:               true,
	dcm.GrayscaleSoftcopyPresentationStateStorage:       true,
	dcm.ColorSoftcopyPresentationStateStorage:           true,
	dcm.BlendingSoftcopyPresentationStateStorage:        true,
	dcm.EncapsulatedPDFStorage:                          true,
	dcm.SegmentationStorage:                             true,
	dcm.RawDataStorage:                                  true,
	dcm.SpatialRegistrationStorage:                      true,
	dcm.MRImageStorage:                                  true,
	"1.2.840.10008.5.1.4.1.1.4.1":                       true, // Enhanced MR Image Storage
	dcm.PositronEmissionTomographyImageStorage:          true,
	dcm.ComputedRadiographyImageStorage:                 true,
	dcm.DigitalXRayImageStorageForPresentation:          true,
	"1.2.840.10008.5.1.4.1.1.12.1":                      true, // X-Ray Angiographic Image Storage
}

// supported returns the transfer syntaxes of an abstract syntax: those of the options for what is stored, what needs no
// codec for the rest, which has no pixels.
func (s *session) supported(abstractSyntax string) []string {
	switch {
	case storage[abstractSyntax]:
		return s.o.TransferSyntaxes
	case abstractSyntax == dcm.VerificationSOPClass:
		return transferSyntaxes
	case abstractSyntax == dcm.StorageCommitmentPushModel && s.o.Commitments != nil:
		return transferSyntaxes[:2] // no information is worth deflating
	}
	return nil
}

// mayServe reports whether a caller may be SCP of a SOP class: it then reports on what we delivered to it (PS3.4 §J.3.3).
func (s *session) mayServe(sopClass string) bool {
	return sopClass == dcm.StorageCommitmentPushModel && s.o.Commitments != nil
}
