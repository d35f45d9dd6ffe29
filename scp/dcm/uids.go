package dcm

// Our identity in file meta information and in associations (PS3.7 §D.3.3.2, PS3.10 §7.1).
const (
	ImplementationClassUID    = "2.25.299315214638310167729029702477435944631"
	ImplementationVersionName = "ICHOR_0_2_0" // follows version in cmd/ichor; a test compares them
)

// Transfer syntaxes (PS3.5 §A, PS3.6 Table A-1).
const (
	ImplicitVRLittleEndian         = "1.2.840.10008.1.2"
	ExplicitVRLittleEndian         = "1.2.840.10008.1.2.1"
	DeflatedExplicitVRLittleEndian = "1.2.840.10008.1.2.1.99"
	ExplicitVRBigEndian            = "1.2.840.10008.1.2.2" // retired
	JPEGBaseline8Bit               = "1.2.840.10008.1.2.4.50"
	JPEGExtended12Bit              = "1.2.840.10008.1.2.4.51"
	JPEGLossless                   = "1.2.840.10008.1.2.4.57"
	JPEGLosslessSV1                = "1.2.840.10008.1.2.4.70"
	JPEGLSLossless                 = "1.2.840.10008.1.2.4.80"
	JPEGLSNearLossless             = "1.2.840.10008.1.2.4.81"
	JPEG2000Lossless               = "1.2.840.10008.1.2.4.90"
	JPEG2000                       = "1.2.840.10008.1.2.4.91"
	HTJ2KLossless                  = "1.2.840.10008.1.2.4.201"
	HTJ2KLosslessRPCL              = "1.2.840.10008.1.2.4.202"
	HTJ2K                          = "1.2.840.10008.1.2.4.203"
	RLELossless                    = "1.2.840.10008.1.2.5"
)

// SOP classes and well-known instances (PS3.4 §B.5, PS3.6 Table A-1).
const (
	ApplicationContext                              = "1.2.840.10008.3.1.1.1"
	VerificationSOPClass                            = "1.2.840.10008.1.1"
	StorageCommitmentPushModel                      = "1.2.840.10008.1.20.1"
	StorageCommitmentPushModelInstance              = "1.2.840.10008.1.20.1.1"
	MediaStorageDirectoryStorage                    = "1.2.840.10008.1.3.10"
	ComputedRadiographyImageStorage                 = "1.2.840.10008.5.1.4.1.1.1"
	DigitalXRayImageStorageForPresentation          = "1.2.840.10008.5.1.4.1.1.1.1"
	CTImageStorage                                  = "1.2.840.10008.5.1.4.1.1.2"
	EnhancedCTImageStorage                          = "1.2.840.10008.5.1.4.1.1.2.1"
	LegacyConvertedEnhancedCTImageStorage           = "1.2.840.10008.5.1.4.1.1.2.2"
	MRImageStorage                                  = "1.2.840.10008.5.1.4.1.1.4"
	SecondaryCaptureImageStorage                    = "1.2.840.10008.5.1.4.1.1.7"
	MultiFrameSingleBitSecondaryCaptureImageStorage = "1.2.840.10008.5.1.4.1.1.7.1"
	MultiFrameGrayscaleByteSecondaryCaptureStorage  = "1.2.840.10008.5.1.4.1.1.7.2"
	MultiFrameGrayscaleWordSecondaryCaptureStorage  = "1.2.840.10008.5.1.4.1.1.7.3"
	MultiFrameTrueColorSecondaryCaptureImageStorage = "1.2.840.10008.5.1.4.1.1.7.4"
	GrayscaleSoftcopyPresentationStateStorage       = "1.2.840.10008.5.1.4.1.1.11.1"
	ColorSoftcopyPresentationStateStorage           = "1.2.840.10008.5.1.4.1.1.11.2"
	BlendingSoftcopyPresentationStateStorage        = "1.2.840.10008.5.1.4.1.1.11.4"
	RawDataStorage                                  = "1.2.840.10008.5.1.4.1.1.66"
	SpatialRegistrationStorage                      = "1.2.840.10008.5.1.4.1.1.66.1"
	SegmentationStorage                             = "1.2.840.10008.5.1.4.1.1.66.4"
	LabelMapSegmentationStorage                     = "1.2.840.10008.5.1.4.1.1.66.7"
	BasicTextSRStorage                              = "1.2.840.10008.5.1.4.1.1.88.11"
	EnhancedSRStorage                               = "1.2.840.10008.5.1.4.1.1.88.22"
	ComprehensiveSRStorage                          = "1.2.840.10008.5.1.4.1.1.88.33"
	Comprehensive3DSRStorage                        = "1.2.840.10008.5.1.4.1.1.88.34"
	KeyObjectSelectionDocumentStorage               = "1.2.840.10008.5.1.4.1.1.88.59"
	XRayRadiationDoseSRStorage                      = "1.2.840.10008.5.1.4.1.1.88.67"
	PatientRadiationDoseSRStorage                   = "1.2.840.10008.5.1.4.1.1.88.73"
	EncapsulatedPDFStorage                          = "1.2.840.10008.5.1.4.1.1.104.1"
	PositronEmissionTomographyImageStorage          = "1.2.840.10008.5.1.4.1.1.128"
)

// UIDName returns the common name of a well-known UID, or the UID itself.
func UIDName(uid string) string {
	if n, ok := uidNames[uid]; ok {
		return n
	}
	return uid
}

var uidNames = map[string]string{
	ImplicitVRLittleEndian:         "Implicit VR Little Endian",
	ExplicitVRLittleEndian:         "Explicit VR Little Endian",
	DeflatedExplicitVRLittleEndian: "Deflated Explicit VR Little Endian",
	ExplicitVRBigEndian:            "Explicit VR Big Endian",
	JPEGBaseline8Bit:               "JPEG Baseline",
	JPEGExtended12Bit:              "JPEG Extended",
	JPEGLossless:                   "JPEG Lossless",
	JPEGLosslessSV1:                "JPEG Lossless SV1",
	JPEGLSLossless:                 "JPEG-LS Lossless",
	JPEGLSNearLossless:             "JPEG-LS Near-Lossless",
	JPEG2000Lossless:               "JPEG 2000 Lossless",
	JPEG2000:                       "JPEG 2000",
	HTJ2KLossless:                  "HTJ2K Lossless",
	HTJ2KLosslessRPCL:              "HTJ2K Lossless RPCL",
	HTJ2K:                          "HTJ2K",
	RLELossless:                    "RLE Lossless",

	VerificationSOPClass:                            "Verification",
	StorageCommitmentPushModel:                      "Storage Commitment Push Model",
	MediaStorageDirectoryStorage:                    "Media Storage Directory",
	ComputedRadiographyImageStorage:                 "Computed Radiography Image",
	DigitalXRayImageStorageForPresentation:          "Digital X-Ray Image",
	CTImageStorage:                                  "CT Image",
	EnhancedCTImageStorage:                          "Enhanced CT Image",
	LegacyConvertedEnhancedCTImageStorage:           "Legacy Converted Enhanced CT Image",
	"1.2.840.10008.5.1.4.1.1.4.1":                   "Enhanced MR Image",
	"1.2.840.10008.5.1.4.1.1.12.1":                  "X-Ray Angiographic Image",
	MRImageStorage:                                  "MR Image",
	SecondaryCaptureImageStorage:                    "Secondary Capture Image",
	MultiFrameSingleBitSecondaryCaptureImageStorage: "Multi-frame Single Bit Secondary Capture Image",
	MultiFrameGrayscaleByteSecondaryCaptureStorage:  "Multi-frame Grayscale Byte Secondary Capture Image",
	MultiFrameGrayscaleWordSecondaryCaptureStorage:  "Multi-frame Grayscale Word Secondary Capture Image",
	MultiFrameTrueColorSecondaryCaptureImageStorage: "Multi-frame True Color Secondary Capture Image",
	GrayscaleSoftcopyPresentationStateStorage:       "Grayscale Softcopy Presentation State",
	ColorSoftcopyPresentationStateStorage:           "Color Softcopy Presentation State",
	BlendingSoftcopyPresentationStateStorage:        "Blending Softcopy Presentation State",
	RawDataStorage:                                  "Raw Data",
	SpatialRegistrationStorage:                      "Spatial Registration",
	SegmentationStorage:                             "Segmentation",
	LabelMapSegmentationStorage:                     "Label Map Segmentation",
	BasicTextSRStorage:                              "Basic Text SR",
	EnhancedSRStorage:                               "Enhanced SR",
	ComprehensiveSRStorage:                          "Comprehensive SR",
	Comprehensive3DSRStorage:                        "Comprehensive 3D SR",
	KeyObjectSelectionDocumentStorage:               "Key Object Selection Document",
	XRayRadiationDoseSRStorage:                      "X-Ray Radiation Dose SR",
	PatientRadiationDoseSRStorage:                   "Patient Radiation Dose SR",
	EncapsulatedPDFStorage:                          "Encapsulated PDF",
	PositronEmissionTomographyImageStorage:          "Positron Emission Tomography Image",
	"1.2.840.10008.5.1.1.27":                        "Stored Print (retired)",
	"1.2.840.10008.5.1.1.29":                        "Hardcopy Grayscale Image (retired)",
	"1.2.840.10008.5.1.1.30":                        "Hardcopy Color Image (retired)",
	"1.2.840.10008.5.1.4.34.7":                      "RT Beams Delivery Instruction",
	"1.2.840.10008.5.1.4.34.10":                     "RT Brachy Application Setup Delivery Instruction",
}
