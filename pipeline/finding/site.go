package finding

// The names of the regions of the brain in Lesion.Sites.
const (
	Frontal   = "frontal"
	Parietal  = "parietal"
	Temporal  = "temporal"
	Occipital = "occipital"
	Deep      = "basal ganglia or thalamus"
	Posterior = "posterior fossa"
)

// The names of the ventricles in Lesion.Sites.
const (
	LateralVentricle = "lateral ventricle"
	ThirdVentricle   = "third ventricle"
	FourthVentricle  = "fourth ventricle"
)
