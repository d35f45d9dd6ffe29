package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

func newSend() *cobra.Command {
	var p peerFlags
	cmd := &cobra.Command{
		Use:     "send HOST:PORT DIR",
		Short:   "Send the DICOM files in a folder to a peer (C-STORE)",
		Example: "  ichor send 127.0.0.1:11112 study/ --called ICHOR",
		Args:    cobra.ExactArgs(2),
	}
	p.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		files, others, err := findDICOM(cmd.Context(), args[1])
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("no DICOM file below %s (%d other files); name the folder that contains the study", args[1], others)
		}
		start := time.Now()
		if err := p.send(cmd.Context(), args[0], files); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d objects stored by %s (%s), %v\n", len(files), args[0], p.called, time.Since(start).Round(time.Millisecond))
		return nil
	}
	return cmd
}

// send stores all files over one association. The error at the end covers all files that the peer rejected.
func (p *peerFlags) send(ctx context.Context, address string, files []dicomFile) error {
	scu, err := p.connect(ctx, address, contextsFor(files))
	if err != nil {
		return err
	}
	bar := progress(len(files), "sending")
	defer bar.Finish()
	var failed []error
	for _, f := range files {
		if err := sendFile(ctx, scu, f); err != nil {
			if _, refused := errors.AsType[*dimse.StatusError](err); !refused {
				scu.Abort()
				return fmt.Errorf("%s: %w", f.path, err)
			}
			failed = append(failed, fmt.Errorf("%s: %w", f.path, err))
		}
		_ = bar.Add(1) // ignore drawing errors
	}
	if err := scu.Release(ctx); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d objects were not stored; the first: %w", len(failed), len(files), failed[0])
	}
	return nil
}

// contextsFor returns one presentation context for each pair of SOP class and transfer syntax in the files.
func contextsFor(files []dicomFile) []ul.ProposedContext {
	var out []ul.ProposedContext
	seen := map[[2]string]bool{}
	for _, f := range files {
		key := [2]string{f.SOPClassUID, f.transferSyntax}
		if !seen[key] {
			seen[key] = true
			out = append(out, ul.ProposedContext{AbstractSyntax: f.SOPClassUID, TransferSyntaxes: []string{f.transferSyntax}})
		}
	}
	return out
}

func sendFile(ctx context.Context, scu *dimse.SCU, f dicomFile) error {
	r, err := openFile(f.path)
	if err != nil {
		return err
	}
	defer r.Close()
	object, err := dcm.Read(r, r.Size(), dcm.Limits{})
	if err != nil {
		return err
	}
	_, err = scu.Store(ctx, dimse.StoreRequest{
		SOPClassUID: f.SOPClassUID, SOPInstanceUID: f.SOPInstanceUID, TransferSyntaxUID: f.transferSyntax, Data: object.Encoded(),
	})
	return err
}
