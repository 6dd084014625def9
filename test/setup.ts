/**
 * Properties are tried on the same inputs in every run, so that a change is judged and not chance. Other inputs:
 * `PROPERTIES=random`, or a number; a failure prints the seed that makes it again.
 */
import fc from 'fast-check'

const given = process.env.PROPERTIES
if (given !== 'random') fc.configureGlobal({ seed: given === undefined ? 20261125 : Number(given) })
