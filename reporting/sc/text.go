package sc

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// canvas is a page being drawn. The first error of the fonts stays in err.
type canvas struct {
	*image.RGBA
	fonts map[bool]*opentype.Font // by bold
	faces map[style]font.Face
	err   error
}

// style is a type size in pixels and a weight.
type style struct {
	px   float64
	bold bool
}

func newCanvas(w, h int, background color.Color) *canvas {
	c := &canvas{RGBA: image.NewRGBA(image.Rect(0, 0, w, h)), fonts: map[bool]*opentype.Font{}, faces: map[style]font.Face{}}
	c.fill(c.Bounds(), background)
	for bold, ttf := range map[bool][]byte{false: goregular.TTF, true: gobold.TTF} {
		f, err := opentype.Parse(ttf)
		if err != nil {
			c.err = fmt.Errorf("built-in font: %w", err)
		}
		c.fonts[bold] = f
	}
	return c
}

func (c *canvas) face(s style) font.Face {
	if f, ok := c.faces[s]; ok || c.err != nil {
		return f
	}
	f, err := opentype.NewFace(c.fonts[s.bold], &opentype.FaceOptions{Size: s.px, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		c.err = fmt.Errorf("built-in font at %g pixels: %w", s.px, err)
		return nil
	}
	c.faces[s] = f
	return f
}

func (c *canvas) fill(r image.Rectangle, col color.Color) {
	draw.Draw(c.RGBA, r, image.NewUniform(col), image.Point{}, draw.Src)
}

// width is that of text in pixels.
func (c *canvas) width(s style, text string) int {
	f := c.face(s)
	if f == nil {
		return 0
	}
	return font.MeasureString(f, text).Ceil()
}

// left, right and center set text on the base line y with its left end, right end or middle at x.
func (c *canvas) left(x, y int, s style, col color.Color, text string) {
	if f := c.face(s); f != nil {
		d := font.Drawer{Dst: c.RGBA, Src: image.NewUniform(col), Face: f, Dot: fixed.P(x, y)}
		d.DrawString(text)
	}
}

func (c *canvas) right(x, y int, s style, col color.Color, text string) {
	c.left(x-c.width(s, text), y, s, col, text)
}

func (c *canvas) center(x, y int, s style, col color.Color, text string) {
	c.left(x-c.width(s, text)/2, y, s, col, text)
}

// rimmed sets text with a dark rim of one pixel.
func (c *canvas) rimmed(x, y int, s style, text string) {
	for _, d := range []image.Point{{-1, -1}, {0, -1}, {1, -1}, {-1, 0}, {1, 0}, {-1, 1}, {0, 1}, {1, 1}} {
		c.left(x+d.X, y+d.Y, s, color.Black, text)
	}
	c.left(x, y, s, textColor(), text)
}

// known replaces the letters that the fonts do not have, as those of Chinese, by a question mark.
func (c *canvas) known(s style, text string) string {
	var b sfnt.Buffer
	return strings.Map(func(r rune) rune {
		if f := c.fonts[s.bold]; f != nil {
			if i, err := f.GlyphIndex(&b, r); err != nil || i == 0 {
				return '?'
			}
		}
		return r
	}, text)
}

// wrap breaks text into lines of at most px pixels, at spaces; a longer word is cut. At most lines lines, the last one
// ends in an ellipsis if there was more.
func (c *canvas) wrap(s style, px, lines int, text string) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(text) {
		if len(out) > lines {
			break
		}
		next := strings.TrimSpace(line + " " + word)
		if c.width(s, next) > px && line != "" {
			out = append(out, line)
			next = word
		}
		line = c.cut(s, px, next)
	}
	if line != "" {
		out = append(out, line)
	}
	if len(out) > lines {
		out = out[:lines]
		out[lines-1] = c.cut(s, px, out[lines-1]+" …")
	}
	return out
}

// cut shortens text to px pixels, ending in an ellipsis where something was cut.
func (c *canvas) cut(s style, px int, text string) string {
	if c.err != nil || c.width(s, text) <= px {
		return text
	}
	r := []rune(strings.TrimSuffix(text, " …"))
	r = r[:min(len(r), px)] // no letter is narrower than a pixel
	for len(r) > 0 && c.width(s, string(r)+"…") > px {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}
