// Package measure turns a label volume into numbers: millilitres in patient space and how far they may be off, lesions
// with their size.
//
//	volumes.go   millilitres of each subtype
//	lesion.go    the connected parts of each, the largest first
//	extent.go    largest diameter, width, the box in patient space
//	abc.go       ABC/2, the estimate by hand
//	range.go     how far the volumes may be off
package measure
