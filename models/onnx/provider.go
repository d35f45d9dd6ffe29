package onnx

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"

	ort "github.com/yalue/onnxruntime_go"
)

// appendProvider adds the configured provider. ONNX Runtime runs the nodes of a graph that the provider does not support on
// the CPU, but it never replaces the provider as a whole.
func (r *Runtime) appendProvider(o *ort.SessionOptions) error {
	switch r.options.Provider {
	case "cpu":
		return nil
	case "openvino":
		device := map[string]string{"device_type": "CPU"}
		maps.Copy(device, r.options.Device)
		return r.provided(o.AppendExecutionProviderOpenVINO(device),
			"install a library with OpenVINO (onnxruntime-openvino), with libonnxruntime_providers_openvino.so beside it")
	case "cuda":
		return r.provided(r.appendCUDA(o), "install the CUDA package: libonnxruntime_providers_cuda.so beside the library, CUDA 12 and "+
			"cuDNN 9 where the loader finds them, and an NVIDIA driver")
	case "tensorrt":
		return r.provided(r.appendTensorRT(o), "install the CUDA package and TensorRT 10: libonnxruntime_providers_tensorrt.so beside the "+
			"library, libnvinfer.so.10 where the loader finds it, and an NVIDIA driver")
	}
	return fmt.Errorf("execution provider %q: must be one of %v; set analysis.provider", r.options.Provider, providers)
}

func (r *Runtime) appendCUDA(o *ort.SessionOptions) (err error) {
	c, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Destroy()) }()
	if err := c.Update(r.deviceOptions()); err != nil { // fails if libraries or the driver are missing; the next call may not
		return err
	}
	return o.AppendExecutionProviderCUDA(c)
}

func (r *Runtime) appendTensorRT(o *ort.SessionOptions) (err error) {
	t, err := ort.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Destroy()) }()
	if err := t.Update(r.deviceOptions()); err != nil {
		return err
	}
	return o.AppendExecutionProviderTensorRT(t)
}

func (r *Runtime) deviceOptions() map[string]string {
	device := map[string]string{"device_id": "0"}
	maps.Copy(device, r.options.Device)
	return device
}

// provided adds the provider and the remedy to an error.
func (r *Runtime) provided(err error, remedy string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: execution provider %s with %s: %w; %s, or set analysis.provider to cpu",
		errLibrary, r.options.Provider, filepath.Base(r.options.Library), err, remedy)
}
