// Package bundle reads a model bundle: a folder with manifest.json, ONNX files and, for each network, a reference
// input and output. Open refuses a bundle if anything in it is missing, unknown, contradictory or altered, and names the
// field. Users may supply their own bundle. The manifest is the contract: nothing is assumed that it does not say.
package bundle

import "slices"

// Role is the purpose of a network. A bundle has one network for each of Roles.
type Role string

const (
	CavityTissue Role = "cavity-tissue" // intracranial cavity in the tissue window
	CavityBone   Role = "cavity-bone"   // intracranial cavity in the bone window
	Bleed        Role = "bleed"         // hemorrhage and its subtypes
	Subtype      Role = "subtype"       // subtypes of what a bleed network of nnU-Net finds; only beside one
)

// Roles lists all roles.
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

// Training records how the weights were made. Settings and metrics may have any content; they are only displayed.
type Training struct {
	Data     string         `json:"data"`
	Seed     int64          `json:"seed"`
	Commit   string         `json:"commit"`
	Settings map[string]any `json:"settings"`
	Metrics  map[string]any `json:"metrics"`
	Limits   []string       `json:"limits"` // known limitations of the weights
}

// Network is one ONNX file and how to use it.
type Network struct {
	Role       Role      `json:"role"`
	File       string    `json:"file"`
	SHA256     string    `json:"sha256"`
	Opset      int       `json:"opset"`
	BaseWidth  int       `json:"base_width"`
	Parameters int64     `json:"parameters"`
	Input      Input     `json:"input"`
	Output     Output    `json:"output"`
	Threshold  float64   `json:"threshold"` // of the first output channel; of nnU-Net, see nnunet.Reader
	Post       Post      `json:"post"`
	Reference  Reference `json:"reference"`

	Int8   *Quantised `json:"int8,omitempty"`   // nil: the network has only a float32 file
	NNUNet *NNUNet    `json:"nnunet,omitempty"` // nil: not a network of nnU-Net

	dir       string
	named     bool           // a network of role Subtype names what this one finds
	precision Precision      // of the files in use; empty is Float32
	point     OperatingPoint // empty is Balanced
}

// TellsSubtypes reports whether the subtypes of what a bleed network finds are known.
func (n *Network) TellsSubtypes() bool {
	if n.NNUNet != nil {
		return n.named || !slices.Contains(n.Output.Channels, "any")
	}
	return len(n.Output.Channels) > 1
}

// Input describes the input of a network.
type Input struct {
	Name       string     `json:"name"`
	Shape      []int64    `json:"shape"`  // -1, channels, N, N; of nnU-Net -1, 1, [slices,] rows, columns of a patch
	Layout     string     `json:"layout"` // NCHW, or NCDHW
	WindowHU   [2]float64 `json:"window_hu"`
	PixelMM    float64    `json:"pixel_mm"`   // 0: the whole image is resized to N x N
	Neighbours int        `json:"neighbours"` // slabs on either side, added as channels
	SlabMM     float64    `json:"slab_mm"`    // thickness of slabs averaged from thin slices; 0: slices are used as they are
}

// Size returns N of the N x N images.
func (i *Input) Size() int { return int(i.Shape[3]) }

// Channels returns the number of input channels.
func (i *Input) Channels() int { return int(i.Shape[1]) }

// Output describes the output of a network: probabilities; logits, if it is of nnU-Net.
type Output struct {
	Name     string   `json:"name"`
	Shape    []int64  `json:"shape"`    // -1, channels, N, N
	Channels []string `json:"channels"` // cavity; or any; or any, IPH, IVH, SAH, SDH, EDH; classes of nnU-Net, see checkClasses
}

// Post is the post-processing of the thresholded mask. Cavity networks use the first three fields, the bleed network the rest. No rule
// drops a component of AlwaysML or more. Only the opening, if the maker of a bundle chose one, comes before that rule.
type Post struct {
	LargestComponent bool        `json:"largest_component,omitempty"` // 3D, 6-connected
	FillHoles        bool        `json:"fill_holes,omitempty"`        // in each slice
	HURange          *[2]float64 `json:"hu_range,omitempty"`          // voxels outside this range are not cavity

	MinComponentML float64   `json:"min_component_ml,omitempty"` // smaller components (3D, 26-connected) are dropped; at most AlwaysML
	SureThreshold  float64   `json:"sure_threshold,omitempty"`   // MinComponentML of a component below AlwaysML must reach this; 0: the threshold
	Edge           float64   `json:"edge,omitempty"`             // share of the probability in the core of a clot that IPH, IVH or ICH in it must reach; 0: the threshold
	OpeningMM      float64   `json:"opening_mm,omitempty"`       // radius, in the slice plane; drops thin layers of any volume
	RimMM          float64   `json:"rim_mm,omitempty"`           // opening is done within this distance of the border of the cavity
	SubtypePer     string    `json:"subtype_per,omitempty"`      // voxel, component, extra-axial or anatomy; empty without subtypes
	Evidence       *Evidence `json:"evidence,omitempty"`         // replaces SureThreshold; nil: decided by volume
}

// KeptML returns the volume in mL from which a component is reported, whatever the rules say of it.
func (p *Post) KeptML() float64 {
	if p.Evidence != nil {
		return p.Evidence.AlwaysML
	}
	return AlwaysML
}

// ByAnatomy reports whether parts of clots are named by where they lie.
func (p *Post) ByAnatomy() bool { return p.SubtypePer == "anatomy" }

// Reference is a reference input and the output that this machine must reproduce, as raw little-endian float32 values.
type Reference struct {
	Input        string  `json:"input"`
	InputSHA256  string  `json:"input_sha256"`
	InputShape   []int64 `json:"input_shape"`
	Output       string  `json:"output"`
	OutputSHA256 string  `json:"output_sha256"`
	OutputShape  []int64 `json:"output_shape"`
	Tolerance    float64 `json:"tolerance"` // largest absolute difference
}
