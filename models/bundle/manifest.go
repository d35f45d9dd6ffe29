// Package bundle reads a model bundle: a folder with manifest.json, ONNX files and, for each network, a reference
// input and output. Open refuses a bundle in which anything is missing, unknown, contradictory or altered, and names the
// field. The manifest is the contract: a bundle may be brought by the user, and what it does not say is not assumed.
package bundle

// Role is what a network is for. A bundle holds each role exactly once.
type Role string

const (
	CavityTissue Role = "cavity-tissue" // intracranial cavity in the tissue window
	CavityBone   Role = "cavity-bone"   // intracranial cavity in the bone window
	Bleed        Role = "bleed"         // hemorrhage and its subtypes
)

// Roles lists the roles a bundle must hold.
var Roles = [...]Role{CavityTissue, CavityBone, Bleed}

// Manifest is manifest.json, schema 1.
type Manifest struct {
	Schema      int       `json:"schema"`
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Licence     string    `json:"licence"`
	IntendedUse string    `json:"intended_use"`
	Description string    `json:"description"`
	Training    Training  `json:"training"`
	Networks    []Network `json:"networks"`
}

// Training is the record of how the weights came to be. Settings and metrics are free, and only shown.
type Training struct {
	Data     string         `json:"data"`
	Seed     int64          `json:"seed"`
	Commit   string         `json:"commit"`
	Settings map[string]any `json:"settings"`
	Metrics  map[string]any `json:"metrics"`
	Limits   []string       `json:"limits"` // what the weights are known not to do
}

// Network is one ONNX file and how it is to be used.
type Network struct {
	Role       Role      `json:"role"`
	File       string    `json:"file"`
	SHA256     string    `json:"sha256"`
	Opset      int       `json:"opset"`
	BaseWidth  int       `json:"base_width"`
	Parameters int64     `json:"parameters"`
	Input      Input     `json:"input"`
	Output     Output    `json:"output"`
	Threshold  float64   `json:"threshold"` // of the first output channel
	Post       Post      `json:"post"`
	Reference  Reference `json:"reference"`

	Int8 *Quantised `json:"int8,omitempty"` // nil: the network has only a float32 file

	dir       string
	precision Precision      // of the files in use; empty is Float32
	point     OperatingPoint // empty is Balanced
}

// TellsSubtypes reports whether a bleed network names the five subtypes, beside hemorrhage of any kind.
func (n *Network) TellsSubtypes() bool { return len(n.Output.Channels) > 1 }

// Input says what the network sees.
type Input struct {
	Name       string     `json:"name"`
	Shape      []int64    `json:"shape"`  // -1, channels, N, N
	Layout     string     `json:"layout"` // NCHW
	WindowHU   [2]float64 `json:"window_hu"`
	PixelMM    float64    `json:"pixel_mm"`   // 0: the whole image is resized to N x N
	Neighbours int        `json:"neighbours"` // slabs on either side that are channels too
	SlabMM     float64    `json:"slab_mm"`    // thickness made from thin slices; 0: slices as they are
}

// Size is N of the N x N images.
func (i *Input) Size() int { return int(i.Shape[3]) }

// Channels is the number of input channels.
func (i *Input) Channels() int { return int(i.Shape[1]) }

// Output says what the network answers: probabilities.
type Output struct {
	Name     string   `json:"name"`
	Shape    []int64  `json:"shape"`    // -1, channels, N, N
	Channels []string `json:"channels"` // cavity; or any; or any, IPH, IVH, SAH, SDH, EDH
}

// Post is what is done to the thresholded mask. Cavity networks use the first three, the bleed network the rest.
type Post struct {
	LargestComponent bool        `json:"largest_component,omitempty"` // 3D, 6-connected
	FillHoles        bool        `json:"fill_holes,omitempty"`        // in each slice
	HURange          *[2]float64 `json:"hu_range,omitempty"`          // voxels outside are not cavity

	MinComponentML float64   `json:"min_component_ml,omitempty"` // 3D, 26-connected
	SureThreshold  float64   `json:"sure_threshold,omitempty"`   // MinComponentML of a component must reach it; 0: the threshold itself
	OpeningMM      float64   `json:"opening_mm,omitempty"`       // radius, in the slice plane
	RimMM          float64   `json:"rim_mm,omitempty"`           // opening acts this close to the border of the cavity
	SubtypePer     string    `json:"subtype_per,omitempty"`      // voxel, component, extra-axial or anatomy; empty where subtypes are not told
	Evidence       *Evidence `json:"evidence,omitempty"`         // takes the place of SureThreshold; nil: volume decides
}

// Reference is an input of one batch element and the output that this machine must reproduce, raw little-endian float32.
type Reference struct {
	Input        string  `json:"input"`
	InputSHA256  string  `json:"input_sha256"`
	InputShape   []int64 `json:"input_shape"`
	Output       string  `json:"output"`
	OutputSHA256 string  `json:"output_sha256"`
	OutputShape  []int64 `json:"output_shape"`
	Tolerance    float64 `json:"tolerance"` // largest absolute difference
}
