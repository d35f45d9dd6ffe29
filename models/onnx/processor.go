package onnx

import (
	"errors"
	"runtime"

	"golang.org/x/sys/cpu"
)

// FastInt8 returns why int8 is not faster than float32 on this machine, nil if it is: the processor multiplies and adds four
// 8-bit numbers in one instruction (VNNI on x86, dot product on ARM).
func FastInt8() error {
	if cpu.X86.HasAVX512VNNI || cpu.X86.HasAVXVNNI || cpu.ARM64.HasASIMDDP {
		return nil
	}
	return errors.New("the processor (" + runtime.GOARCH + ") has no 8-bit dot product (VNNI)")
}
