package dcm

// Lossy reports whether the pixels went through lossy compression at some time: now, because the transfer syntax is a
// lossy one, or before, because Lossy Image Compression says so (PS3.3 §C.7.6.1.1.5). Transfer syntaxes that may be
// either are lossy unless the attribute denies it.
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
