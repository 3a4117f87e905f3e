/** Opens the catalog at the path of its first parameter, and so brings it to the newest schema. */
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'

const [path = ''] = process.argv.slice(2)
await using _catalog = await SqliteCatalog.open(path)
