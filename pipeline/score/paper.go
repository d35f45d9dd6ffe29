package score

// Figure is a line of Table 3 of the paper, in percent: mean and standard deviation over volumes.
type Figure struct {
	Method    string     `json:"method"`
	Dice      [2]float64 `json:"dice"`
	Precision [2]float64 `json:"precision"`
	Recall    [2]float64 `json:"recall"`
}

// Paper returns the figures of Table 3 to set beside a score: the best method and the plain U-Net, over all volumes and over those
// that bleed. Both are empty for a set that the paper does not have.
func Paper(set string) (all, bleeding []Figure) {
	const best, plain = "Multi-label classification (DL)", "U-Net 2D mixed"
	switch set {
	case "hssayeni":
		return []Figure{{best, [2]float64{63.85, 39.96}, [2]float64{69.33, 38.78}, [2]float64{76.45, 33.23}},
				{plain, [2]float64{38.36, 39.43}, [2]float64{46.24, 41.56}, [2]float64{72.18, 36.54}}},
			[]Figure{{"Multi-label classification (CE)", [2]float64{50.06, 30.77}, [2]float64{59.15, 32.08}, [2]float64{52.14, 31.35}},
				{plain, [2]float64{42.17, 29.60}, [2]float64{58.58, 31.13}, [2]float64{42.04, 32.04}}}
	case "seg-cq500":
		return nil, []Figure{{best, [2]float64{63.23, 29.44}, [2]float64{79.77, 23.33}, [2]float64{59.64, 30.74}},
			{plain, [2]float64{56.12, 31.95}, [2]float64{68.77, 28.49}, [2]float64{56.46, 32.90}}}
	}
	return nil, nil
}
