/*
 * Brings the cores of NAME.cores.geojson, as napari-her2 writes it, into QuPath as a TMA grid: names, missing cores,
 * case IDs, your own columns, and the HER2 scores as measurements.
 *
 * In QuPath: open the slide, then Automate > Script editor, open this file, Run, and choose the GeoJSON file.
 * Without a window: QuPath script --image=slide.svs --args=/path/to/NAME.cores.geojson --save qupath_import_grid.groovy
 *
 * Written against QuPath 0.5 and 0.6. Research use only. BSD-3-Clause.
 */
import qupath.fx.dialogs.FileChoosers
import qupath.lib.io.GsonTools
import qupath.lib.objects.PathObjects
import qupath.lib.objects.hierarchy.DefaultTMAGrid

// A TMA grid that is there already, with everything in it, is replaced only if this is true.
boolean replaceGrid = false

def hierarchy = getCurrentHierarchy()
if (hierarchy == null) {
    println 'Open the slide first: there is no image to lay the grid on.'
    return
}
if (hierarchy.getTMAGrid() != null && !replaceGrid) {
    println 'This image has a TMA grid already. Set replaceGrid to true, near the top of the script, to replace it.'
    return
}

def chosen = binding.hasVariable('args') && args ? new File(args[0] as String) : null
if (chosen == null)
    chosen = FileChoosers.promptForFile('Cores of napari-her2', FileChoosers.createExtensionFilter('GeoJSON', '*.geojson'))
if (chosen == null)
    return

def content = GsonTools.getInstance().fromJson(chosen.getText('UTF-8'), Map.class)
def layout = content['napari_her2']
if (layout == null) {
    println "${chosen.getName()} holds no grid of rows and columns that napari-her2 wrote: save the cores again there."
    return
}

// what is known of each core, by its name
def known = [:]
content['features'].each { feature -> known[feature['properties']['name']] = feature['properties'] }

def cores = []
layout['cells'].each { cell ->
    def properties = known.remove(cell['core'])
    def metadata = properties == null ? [:] : properties['metadata']
    double x = (metadata['x'] ?: cell['x']) as double
    double y = (metadata['y'] ?: cell['y']) as double
    double diameter = (metadata['diameter'] ?: cell['diameter']) as double
    // excluded cores are missing to QuPath, so that it leaves them alone; their metadata still says "excluded"
    boolean missing = metadata['state'] != 'tissue'
    def core = PathObjects.createTMACoreObject(x, y, diameter, missing)
    core.setName(cell['name'] as String)
    metadata.each { key, value ->
        if (key == 'Case ID')
            core.setCaseID(value as String)
        else
            core.putMetadataValue(key as String, value as String)
    }
    def measured = properties == null ? null : properties['measurements']
    measured?.each { key, value -> core.getMeasurementList().put(key as String, value as double) }
    cores << core
}

hierarchy.setTMAGrid(DefaultTMAGrid.create(cores, layout['width'] as int))
int scored = cores.count { it.getMeasurementList().containsKey('HER2: score') } as int
println "${cores.size()} cores in ${layout['height'] as int} rows of ${layout['width'] as int}, ${scored} of them scored."
if (!known.isEmpty())
    println "Left out, because they are off the grid: ${known.keySet().join(', ')}."
