package iod

import "ichor/scp/dcm"

// Code is a coded concept (PS3.3 §8.8).
type Code struct{ Value, Scheme, Meaning string }

// Item is the code as an item of a code sequence (PS3.3 Table 8.8-1).
func (c Code) Item() *dcm.DataSet {
	d := &dcm.DataSet{}
	d.SetStrings(dcm.CodeValue, "SH", c.Value)
	d.SetStrings(dcm.CodingSchemeDesignator, "SH", c.Scheme)
	d.SetStrings(dcm.CodeMeaning, "LO", c.Meaning)
	return d
}

// The one table of codes: all that SEG, SC and SR say in codes (PS3.16 §D and context groups), but for what a site
// says otherwise in Looks. Read-only.
var (
	MorphologicallyAbnormalStructure = Code{"49755003", "SCT", "Morphologically Abnormal Structure"} // CID 7150
	AnatomicalStructure              = Code{"123037004", "SCT", "Anatomical Structure"}              // CID 7150
	Hemorrhage                       = Code{"50960005", "SCT", "Hemorrhage"}                         // CID 7151
	IntracranialHemorrhage           = Code{"1386000", "SCT", "Intracranial hemorrhage"}
	Brain                            = Code{"12738006", "SCT", "Brain"}
	BrainVentricle                   = Code{"35764002", "SCT", "Brain ventricle"}
	SubarachnoidSpace                = Code{"35951006", "SCT", "Subarachnoid space"}
	DuraMater                        = Code{"18545000", "SCT", "Dura mater"}
	CranialCavity                    = Code{"1101003", "SCT", "Cranial Cavity"} // CID 7140
	Head                             = Code{"69536005", "SCT", "Head"}
	CTOfHead                         = Code{"303653007", "SCT", "Computed tomography of head"}
	ImagingProcedure                 = Code{"363679005", "SCT", "Imaging procedure"} // CID 100
	FindingSite                      = Code{"363698007", "SCT", "Finding Site"}
	Volume                           = Code{"118565006", "SCT", "Volume"} // CID 218
	FrontalLobe                      = Code{"83251001", "SCT", "Frontal lobe"}
	ParietalLobe                     = Code{"16630005", "SCT", "Parietal lobe"}
	TemporalLobe                     = Code{"78277001", "SCT", "Temporal lobe"}
	OccipitalLobe                    = Code{"31065004", "SCT", "Occipital lobe"}
	LateralVentricle                 = Code{"66720007", "SCT", "Lateral Ventricle"} // CID 7140
	ThirdVentricle                   = Code{"49841001", "SCT", "Third ventricle"}   // CID 7140
	FourthVentricle                  = Code{"35918002", "SCT", "Fourth Ventricle"}  // CID 7140
	CerebralHemisphere               = Code{"372073000", "SCT", "Cerebral hemisphere"}
	Laterality                       = Code{"272741003", "SCT", "Laterality"}
	Right                            = Code{"24028007", "SCT", "Right"}                                      // CID 244
	Left                             = Code{"7771000", "SCT", "Left"}                                        // CID 244
	RightAndLeft                     = Code{"51440002", "SCT", "Bilateral"}                                  // CID 244
	Median                           = Code{"130290", "DCM", "Median"}                                       // CID 245
	Detected                         = Code{"260373001", "SCT", "Detected"}                                  // not Present: nobody has looked at it
	NotDetected                      = Code{"260415000", "SCT", "Not detected"}                              // not Absent: a bleed may have been missed
	LongAxis                         = Code{"103339001", "SCT", "Long Axis"}                                 // CID 7470
	ShortAxis                        = Code{"103340004", "SCT", "Short Axis"}                                // CID 7470
	UpperUncertainty                 = Code{"371886008", "SCT", "+, range of upper measurement uncertainty"} // TID 310
	LowerUncertainty                 = Code{"371885007", "SCT", "-, range of lower measurement uncertainty"} // TID 310
	Milliliter                       = Code{"mL", "UCUM", "milliliter"}                                      // CID 82
	Millimeter                       = Code{"mm", "UCUM", "millimeter"}                                      // CID 83
	English                          = Code{"en-US", "RFC5646", "English (United States)"}
	QualitativeEvaluations           = Code{"C0034375", "UMLS", "Qualitative Evaluations"} // TID 1500

	ProcessingEquipment      = Code{"109102", "DCM", "Processing Equipment"} // CID 7005
	SegmentationDerivation   = Code{"113076", "DCM", "Segmentation"}         // CID 7203
	SourceImageForProcessing = Code{"121322", "DCM", "Source image for image processing operation"}
	ArtificialIntelligence   = Code{"123110", "DCM", "Artificial Intelligence"} // CID 7162

	ImagingMeasurementReport = Code{"126000", "DCM", "Imaging Measurement Report"} // CID 7021
	Language                 = Code{"121049", "DCM", "Language of Content Item and Descendants"}
	ObserverType             = Code{"121005", "DCM", "Observer Type"}
	Device                   = Code{"121007", "DCM", "Device"}
	DeviceObserverUID        = Code{"121012", "DCM", "Device Observer UID"}
	DeviceObserverName       = Code{"121013", "DCM", "Device Observer Name"}
	DeviceObserverMaker      = Code{"121014", "DCM", "Device Observer Manufacturer"}
	DeviceObserverModel      = Code{"121015", "DCM", "Device Observer Model Name"}
	DeviceObserverSerial     = Code{"121016", "DCM", "Device Observer Serial Number"}
	ProcedureReported        = Code{"121058", "DCM", "Procedure reported"}
	ImageLibrary             = Code{"111028", "DCM", "Image Library"}
	ImageLibraryGroup        = Code{"126200", "DCM", "Image Library Group"}
	Modality                 = Code{"121139", "DCM", "Modality"}
	CT                       = Code{"CT", "DCM", "Computed Tomography"} // CID 29
	TargetRegion             = Code{"123014", "DCM", "Target Region"}
	ImagingMeasurements      = Code{"126010", "DCM", "Imaging Measurements"}
	MeasurementGroup         = Code{"125007", "DCM", "Measurement Group"}
	TrackingIdentifier       = Code{"112039", "DCM", "Tracking Identifier"}
	TrackingUniqueIdentifier = Code{"112040", "DCM", "Tracking Unique Identifier"}
	Finding                  = Code{"121071", "DCM", "Finding"}
	ReferencedSegment        = Code{"121191", "DCM", "Referenced Segment"}
	SourceSeries             = Code{"121232", "DCM", "Source series for segmentation"}
	AlgorithmName            = Code{"111001", "DCM", "Algorithm Name"}
	AlgorithmVersion         = Code{"111003", "DCM", "Algorithm Version"}
	AlgorithmParameters      = Code{"111002", "DCM", "Algorithm Parameters"}
	Comment                  = Code{"121106", "DCM", "Comment"}
	Summary                  = Code{"121111", "DCM", "Summary"}
	ProcessingSummary        = Code{"111017", "DCM", "CAD Processing and Findings Summary"}
	SucceededWithoutFindings = Code{"111241", "DCM", "All algorithms succeeded; without findings"} // CID 6047
	SucceededWithFindings    = Code{"111242", "DCM", "All algorithms succeeded; with findings"}
	NoneSucceededNoFindings  = Code{"111245", "DCM", "No algorithms succeeded; without findings"}
	OfInterest               = Code{"113000", "DCM", "Of Interest"} // CID 7010
	RejectedForQuality       = Code{"113001", "DCM", "Rejected for Quality Reasons"}
	KeyObjectDescription     = Code{"113012", "DCM", "Key Object Description"}
)
