package dcm

// Lossy reports whether the pixels were ever compressed with loss: by the transfer syntax, or earlier according to Lossy Image
// Compression (PS3.3 §C.7.6.1.1.5). Transfer syntaxes that allow both count as lossy unless the attribute denies it.
func (f *File) Lossy() bool {
	said := f.Data.String(LossyImageCompression)
	switch f.Meta.TransferSyntaxUID {
	case JPEGBaseline8Bit, JPEGExtended12Bit:
		return true
	case JPEGLSNearLossless, JPEG2000, HTJ2K:
		return said != "00"
	}
	return said == "01"
}
