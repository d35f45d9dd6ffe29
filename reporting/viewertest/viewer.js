// A small viewer on cornerstone3D, for the test beside it: it shows the CT of a study, the segmentation over it and the
// text of the structured report, all read by DICOMweb from /dicom-web of its own origin.
import * as core from '@cornerstonejs/core';
import * as tools from '@cornerstonejs/tools';
import * as loader from '@cornerstonejs/dicom-image-loader';
import { adaptersSEG } from '@cornerstonejs/adapters';
import { api } from 'dicomweb-client';
import dcmjs from 'dcmjs';

const root = location.origin + '/dicom-web';
const client = new api.DICOMwebClient({ url: root });
const VIEWPORT = 'ct';
const naturalize = (json) => dcmjs.data.DicomMetaDictionary.naturalizeDataset(json);
let viewport;
let images = []; // { id, uid, position along the normal }, feet to head

// load shows a study. It answers with what was found: { slices, segments: [{ number, label, rgb, voxels }], report }.
window.load = async (StudyInstanceUID) => {
  await core.init();
  await tools.init();
  loader.init({ maxWebWorkers: 1 });
  const series = (await client.searchForSeries({ studyInstanceUID: StudyInstanceUID })).map(naturalize);
  const of = (modality) => series.filter((s) => s.Modality === modality).map((s) => s.SeriesInstanceUID);

  for (const uid of of('CT')) await readCT(StudyInstanceUID, uid);
  const engine = new core.RenderingEngine('engine');
  engine.enableElement({ viewportId: VIEWPORT, element: document.getElementById('image'), type: core.Enums.ViewportType.STACK });
  viewport = engine.getViewport(VIEWPORT);
  await viewport.setStack(images.map((i) => i.id), 0);
  viewport.setProperties({ voiRange: { lower: -20, upper: 120 } });

  const segments = [];
  for (const uid of of('SEG')) segments.push(...(await readSEG(StudyInstanceUID, uid)));
  let report = '';
  for (const uid of of('SR')) report += await readSR(StudyInstanceUID, uid);
  document.getElementById('text').textContent = report;
  return { slices: images.length, segments, report };
};

// show goes to the slice with a SOPInstanceUID. It answers with the canvas positions, in pixels of the page, of the given
// patient positions.
window.show = async (SOPInstanceUID, points) => {
  await viewport.setImageIdIndex(images.findIndex((i) => i.uid === SOPInstanceUID));
  viewport.render();
  await new Promise((done) => setTimeout(done, 300)); // the overlay is drawn after the image
  const box = viewport.canvas.getBoundingClientRect();
  return points.map((p) => viewport.worldToCanvas(p)).map(([x, y]) => [x + box.left, y + box.top]);
};

async function readCT(studyInstanceUID, seriesInstanceUID) {
  const all = await client.retrieveSeriesMetadata({ studyInstanceUID, seriesInstanceUID });
  const instances = new Map();
  for (const json of all) {
    const d = naturalize(json);
    const id = `wadors:${root}/studies/${studyInstanceUID}/series/${seriesInstanceUID}/instances/${d.SOPInstanceUID}/frames/1`;
    loader.wadors.metaDataManager.add(id, json);
    instances.set(id, d);
    const [a, b, c, e, f, g] = d.ImageOrientationPatient;
    const normal = [b * g - c * f, c * e - a * g, a * f - b * e];
    const position = d.ImagePositionPatient.reduce((sum, x, i) => sum + x * normal[i], 0);
    images.push({ id, uid: d.SOPInstanceUID, position: normal[2] < 0 ? -position : position });
  }
  images.sort((a, b) => a.position - b.position);
  // The loader's own provider knows neither frame of reference nor position of a slice.
  core.metaData.addProvider((type, id) => (type === 'instance' ? instances.get(id) : undefined), 20000);
}

async function readSEG(studyInstanceUID, seriesInstanceUID) {
  const out = [];
  const buffers = await client.retrieveSeries({ studyInstanceUID, seriesInstanceUID });
  for (const [n, buffer] of buffers.entries()) {
    const ids = images.map((i) => i.id);
    const seg = await adaptersSEG.Cornerstone3D.Segmentation.createFromDICOMSegBuffer(ids, buffer, { metadataProvider: core.metaData });
    const segments = seg.segMetadata.data.filter(Boolean).map((s) => ({
      number: Number(s.SegmentNumber),
      label: s.SegmentLabel,
      rgb: dcmjs.data.Colors.dicomlab2RGB(s.RecommendedDisplayCIELabValue).map((x) => Math.round(x * 255)),
      voxels: 0,
    }));
    for (const [layer, labelmap] of seg.labelMapImages.entries()) { // segments that overlap lie on several layers
      for (const image of labelmap) {
        for (const v of image.voxelManager.getScalarData()) {
          const s = v && segments.find((s) => s.number === v);
          if (s) s.voxels++;
        }
      }
      const segmentationId = `${seriesInstanceUID} ${n} ${layer}`;
      tools.segmentation.addSegmentations([{ segmentationId,
        representation: { type: tools.Enums.SegmentationRepresentations.Labelmap,
          data: { imageIds: labelmap.map((i) => i.imageId), referencedImageIds: ids } } }]);
      await tools.segmentation.addLabelmapRepresentationToViewport(VIEWPORT, [{ segmentationId }]);
      for (const s of segments) {
        tools.segmentation.config.color.setSegmentIndexColor(VIEWPORT, segmentationId, s.number, [...s.rgb, 255]);
      }
    }
    out.push(...segments);
  }
  return out;
}

// readSR is the content tree as text, an item with a name a line.
async function readSR(studyInstanceUID, seriesInstanceUID) {
  const all = await client.retrieveSeriesMetadata({ studyInstanceUID, seriesInstanceUID });
  const list = (x) => (x === undefined ? [] : Array.isArray(x) ? x : [x]);
  const meaning = (sequence) => list(sequence)[0]?.CodeMeaning ?? '';
  const item = (d, depth) => {
    const measured = list(d.MeasuredValueSequence)[0];
    const value = measured ? `${measured.NumericValue} ${list(measured.MeasurementUnitsCodeSequence)[0]?.CodeValue}`
      : d.TextValue ?? (d.ConceptCodeSequence ? meaning(d.ConceptCodeSequence) : d.UID ?? d.DateTime ?? '');
    if (!d.ConceptNameCodeSequence) return ''; // a reference to an image
    const line = `${'  '.repeat(depth)}${meaning(d.ConceptNameCodeSequence)}${value === '' ? '' : ': ' + value}\n`;
    return line + list(d.ContentSequence).map((c) => item(c, depth + 1)).join('');
  };
  return all.map((json) => item(naturalize(json), 0)).join('');
}
