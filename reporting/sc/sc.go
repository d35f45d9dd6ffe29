// Package sc writes the Secondary Capture series (PS3.3 §A.8) for viewers that show nothing else: a summary page, then
// each key slice on a page of its own; and beside them the overlay, the slices one by one to scroll through. What a page
// says stands in its pixels; no patient name or date is among them.
package sc

import (
	"context"
	"image"

	"ichor/pipeline/finding"
	"ichor/reporting/iod"
	"ichor/reporting/words"
	"ichor/scp/dcm"
)

// What names the objects of each series in derived UIDs and in the series description.
const (
	pages   = "SC"
	overlay = "overlay"
)

// Page is one image of the series.
type Page struct {
	Image  *image.RGBA
	Slices []int  // of the volume, that it shows
	Note   string // Image Comments

	Orientation []string // patient directions of a row and a column; none where the page is more than one slice

	series string
	plane  *plane // of an overlay
}

// Pages draws all pages of c: the summary, then one a key slice where there is hemorrhage.
func Pages(ctx context.Context, c *iod.Report) ([]Page, error) {
	summary, err := Summary(ctx, c)
	if err != nil {
		return nil, err
	}
	keys := shown(c)
	out := []Page{{series: pages, Image: summary, Slices: keys, Note: "Summary. " + finding.Disclaimer}}
	if len(c.Segments()) == 0 {
		return out, nil
	}
	v := newView(c)
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		img, err := slicePage(c, v, k)
		if err != nil {
			return nil, err
		}
		out = append(out, Page{series: pages, Image: img, Slices: []int{k}, Orientation: []string{direction(v.right), direction(v.down)},
			Note: sliceName(c, k) + ". " + finding.Disclaimer})
	}
	return out, nil
}

// slicePage shows one slice as large as it gets, as it is and with the hemorrhage marked.
func slicePage(c *iod.Report, v *view, k int) (*image.RGBA, error) {
	const width, tall = 640, 760
	p := newCanvas(2*width, tall+headHeight+footHeight, backgroundColor())
	head(p, c, sliceName(c, k))
	_, _, up := v.markers()
	for i, outline := range []int{0, 3} {
		r := image.Rect(i*width, headHeight, (i+1)*width-4*(1-i), headHeight+tall)
		v.draw(p.RGBA, r, k, outline)
		markers(p, v, r, style{26, true})
		p.rimmed((r.Min.X+r.Max.X-p.width(style{26, true}, up))/2, r.Min.Y+32, style{26, true}, up)
	}
	y := headHeight + 80
	for _, s := range c.Segments() {
		if c.OnSlice(s, k) {
			p.fill(image.Rect(width+margin, y-14, width+margin+16, y+2), c.Look(s).Color)
			p.left(width+margin+26, y, style{18, true}, textColor(), s.String())
			y += 28
		}
	}
	foot(p)
	return p.RGBA, p.err
}

// DataSet makes the image object of page p, instance number n of the series.
func DataSet(c *iod.Report, n int, p Page) *dcm.DataSet {
	d := &dcm.DataSet{}
	c.Patient(d)
	c.Study(d)
	c.Series(d, "OT", p.series, true)
	if p.plane != nil {
		p.plane.fill(d, c)
	}
	c.Equipment(d)
	c.SOPCommon(d, dcm.SecondaryCaptureImageStorage, p.series, n)
	if c.Volume != nil {
		c.CommonInstanceReference(d)
	}

	// SC Equipment (PS3.3 §C.8.6.1)
	d.SetStrings(dcm.ConversionType, "CS", "WSD")
	d.SetStrings(dcm.SecondaryCaptureDeviceManufacturer, "LO", iod.Manufacturer)
	d.SetStrings(dcm.SecondaryCaptureDeviceManufacturerModelName, "LO", c.Model())
	d.SetStrings(dcm.SecondaryCaptureDeviceSoftwareVersions, "LO", c.Version)

	// General Image and General Reference (§C.7.6.1, §C.12.4)
	d.SetStrings(dcm.PatientOrientation, "CS", p.Orientation...)
	d.SetStrings(dcm.ImageType, "CS", "DERIVED", "SECONDARY")
	d.SetStrings(dcm.BurnedInAnnotation, "CS", "YES")
	d.SetStrings(dcm.ImageComments, "LT", p.Note)
	derivation(d, c, p)
	c.Lossy(d)

	// Image Pixel (§C.7.6.3)
	b := p.Image.Bounds()
	d.SetInts(dcm.SamplesPerPixel, "US", 3)
	d.SetStrings(dcm.PhotometricInterpretation, "CS", "RGB")
	d.SetInts(dcm.PlanarConfiguration, "US", 0)
	d.SetInts(dcm.Rows, "US", int64(b.Dy()))
	d.SetInts(dcm.Columns, "US", int64(b.Dx()))
	d.SetInts(dcm.BitsAllocated, "US", 8)
	d.SetInts(dcm.BitsStored, "US", 8)
	d.SetInts(dcm.HighBit, "US", 7)
	d.SetInts(dcm.PixelRepresentation, "US", 0)
	d.SetBytes(dcm.PixelData, "OB", rgb(p.Image))
	return d
}

// derivation says which images a page was made from, and by what.
func derivation(d *dcm.DataSet, c *iod.Report, p Page) {
	if len(p.Slices) == 0 {
		return
	}
	d.SetStrings(dcm.DerivationDescription, "ST", words.Text("Slices with hemorrhage marked by a neural network. "+finding.Disclaimer+
		" "+c.Bundle()+" "+c.Settings(), 1024))
	var sources []*dcm.DataSet
	for _, k := range p.Slices {
		it := iod.SourceItem(c.Volume.Sources[k])
		it.SetSequence(dcm.PurposeOfReferenceCodeSequence, iod.SourceImageForProcessing.Item())
		sources = append(sources, it)
	}
	d.SetSequence(dcm.SourceImageSequence, sources...)
}

// rgb drops the alpha channel.
func rgb(m *image.RGBA) []byte {
	out := make([]byte, 0, m.Rect.Dx()*m.Rect.Dy()*3)
	for i := 0; i+3 < len(m.Pix); i += 4 {
		out = append(out, m.Pix[i], m.Pix[i+1], m.Pix[i+2])
	}
	return out
}
