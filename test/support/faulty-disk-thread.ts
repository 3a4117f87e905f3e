/** Loaded before the module of a thread: its disk is as faulty as that of the thread that began it. */
import { getEnvironmentData } from 'node:worker_threads'
import { type FaultState, patchFileSystem } from './faulty-calls.ts'
import { faultyDiskKey } from './faulty-disk.ts'

const state = getEnvironmentData(faultyDiskKey) as FaultState | undefined
if (state) await patchFileSystem(state)
