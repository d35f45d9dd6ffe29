// Package measure turns a label volume into numbers and words: millilitres in patient space and how far they may be off,
// lesions with their size and place.
//
//	volumes.go   millilitres of each subtype
//	lesion.go    the connected parts of each, the largest first
//	extent.go    largest diameter, width, the box in patient space
//	abc.go       ABC/2, the estimate by hand
//	range.go     how far the volumes may be off
//	skull.go     how the head lies, from the shape of the cavity
//	position.go  which part of a lesion lies in which region
//	place.go     side and place of a lesion, in words
package measure
