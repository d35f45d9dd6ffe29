package bundle_test

import (
	"fmt"
	"log"

	"ichor/models/bundle"
)

// Open the shipped bundle. Open checks the digest of every file and refuses a bundle whose manifest is incomplete.
func ExampleOpen() {
	b, err := bundle.Open("../bundles/ichor-synthetic")
	if err != nil {
		log.Fatal(err)
	}
	bleed := b.Network(bundle.Bleed)
	fmt.Println(b.Name)
	fmt.Println("reads", bleed.Input.WindowHU, "HU and gives", bleed.Output.Channels)
	// Output:
	// ichor-synthetic
	// reads [-50 150] HU and gives [any IPH IVH SAH SDH EDH]
}
