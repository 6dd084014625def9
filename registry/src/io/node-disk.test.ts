import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NodeDisk } from './node-disk.ts'

const text = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('utf8')
const bytes = (from: string) => Uint8Array.from(Buffer.from(from))

describe('the real disk', () => {
  let folder: string
  const opened: NodeDisk[] = []
  const open = async (path = folder) => {
    const disk = await NodeDisk.open(path)
    opened.push(disk)
    return disk
  }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'disk-'))
  })
  afterEach(async () => {
    for (const disk of opened.splice(0)) await disk.close()
    await rm(folder, { recursive: true, force: true })
  })

  it('writes where it is told, in as many pieces as it is given, and reads it back', async () => {
    const disk = await open()
    await disk.write('a/b/file', 0, [bytes('hello '), bytes(''), bytes('world')])
    await disk.write('a/b/file', 6, [bytes('there')])
    await disk.write(
      'a/b/file',
      20,
      Array.from({ length: 3000 }, () => bytes('x')),
    )
    await disk.sync('a/b/file')
    await disk.syncFolder('a/b')
    assert.equal(text(await disk.read('a/b/file', 0, 11)), 'hello there')
    assert.equal(text(await disk.read('a/b/file', 11, 10)), '\0\0\0\0\0\0\0\0\0x')
    assert.equal((await disk.read('a/b/file'))?.length, 3020)
    assert.equal((await disk.read('a/b/file', 3019, 100))?.length, 1)
    assert.equal((await disk.read('a/b/file', 4000))?.length, 0)
    assert.deepEqual(await disk.list('a'), ['b'])
  })

  it('does not know files that are not there', async () => {
    const disk = await open()
    assert.equal(await disk.read('nothing'), undefined)
    assert.deepEqual(await disk.list('nothing'), [])
    await disk.remove('nothing')
    await assert.rejects(disk.rename('nothing', 'other'), { code: 'ENOENT' })
  })

  it('names the file in every error, with the reason of the system', async () => {
    const disk = await open()
    await mkdir(join(folder, 'a-folder'))
    await assert.rejects(disk.write('a-folder', 0, [bytes('x')]), { code: 'EISDIR', message: /a-folder/ })
    await assert.rejects(disk.read('a-folder'), { code: 'EISDIR', message: /a-folder/ })
    // Everything written there finds the disk full.
    await symlink('/dev/full', join(folder, 'full'))
    await assert.rejects(disk.write('full', 0, [bytes('x')]), {
      code: 'ENOSPC',
      message: /^ENOSPC: no space left on device, .* 'full'$/,
    })
  })

  it('renames, truncates and removes files that it has open', async () => {
    const disk = await open()
    await disk.write('new', 0, [bytes('new')])
    await disk.write('old', 0, [bytes('old')])
    await disk.rename('new', 'old')
    assert.equal(text(await disk.read('old')), 'new')
    await disk.write('old', 3, [bytes('er')])
    await disk.truncate('old', 4)
    assert.equal(text(await disk.read('old')), 'newe')
    await disk.remove('old')
    assert.equal(await disk.read('old'), undefined)
    await disk.write('old', 0, [bytes('again')])
    assert.equal(text(await disk.read('old')), 'again')
  })

  it('does what concerns one file in the order of the calls', async () => {
    const disk = await open()
    const steps: Promise<unknown>[] = []
    for (let at = 0; at < 50; at++) {
      steps.push(disk.write('file', 0, [bytes(`${at}`.padStart(4))]), disk.sync('file'), disk.rename('file', 'other'))
      steps.push(disk.rename('other', 'file'))
    }
    await Promise.all(steps)
    assert.equal(text(await disk.read('file')), '  49')
  })

  it('keeps few files open', async () => {
    const disk = await open()
    for (let at = 0; at < 200; at++) {
      await disk.write(`many/${at}`, 0, [bytes('x')])
      await disk.sync(`many/${at}`)
    }
    const descriptors = await readdir('/proc/self/fd')
    assert.ok(descriptors.length < 120, `${descriptors.length} open`)
  })

  it('two files may need the same new folder at once', async () => {
    const disk = await open()
    const files = Array.from({ length: 10 }, (_, at) => `new/folder/${at}`)
    await Promise.all(files.map((file) => disk.write(file, 0, [bytes(file)])))
    for (const file of files) assert.equal(text(await disk.read(file)), file)
  })

  it('makes the directory, and names it and the reason when it cannot be used', async () => {
    await (await open(join(folder, 'deep/er'))).write('file', 0, [bytes('x')])
    await writeFile(join(folder, 'plain'), '')
    await assert.rejects(open(join(folder, 'plain')), {
      name: 'BadRequest',
      message: new RegExp(
        `^expected the data directory ${join(folder, 'plain')} to be readable and writable by this user: .*`,
      ),
    })
    await assert.rejects(open(join(folder, 'plain/below')), /ENOTDIR/)
    await assert.rejects(open('/proc/no/such/folder'), /ENOENT/)
    if (process.getuid?.() !== 0) {
      await mkdir(join(folder, 'closed'))
      await chmod(join(folder, 'closed'), 0o500)
      await assert.rejects(open(join(folder, 'closed')), /EACCES/)
    }
  })

  describe('its lock', () => {
    const holders: ChildProcess[] = []
    /** Another process takes the lock and keeps it. */
    const hold = async (): Promise<ChildProcess> => {
      const script = `
        const { NodeDisk } = await import(${JSON.stringify(new URL('./node-disk.ts', import.meta.url).href)})
        await (await NodeDisk.open(${JSON.stringify(folder)})).lock()
        console.log('held')
        setInterval(() => {}, 1000)`
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      holders.push(child)
      await new Promise<void>((resolve, reject) => {
        child.stdout.once('data', () => resolve())
        child.once('exit', (code) => reject(new Error(`the holder ended with ${code}`)))
      })
      child.removeAllListeners('exit')
      return child
    }
    const end = async (child: ChildProcess) => {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await gone
    }
    afterEach(async () => {
      for (const child of holders.splice(0)) if (child.exitCode === null && child.signalCode === null) await end(child)
    })

    it('keeps another process out and names the holder, until that process dies', async () => {
      const holder = await hold()
      const disk = await open()
      await assert.rejects(disk.lock(), {
        name: 'BadRequest',
        message: new RegExp(
          `^the data directory ${folder} is in use by pid ${holder.pid} on .*; stop it first, or use another with -data-dir$`,
        ),
      })
      await end(holder)
      const left = await readdir(folder)
      assert.equal(left.length, 1, 'a killed process leaves its lock behind')
      await disk.lock()
      const mine = await readdir(folder)
      assert.equal(mine.length, 1)
      assert.notDeepEqual(mine, left)
    })

    it('keeps another process out while its holder stands still', async () => {
      const holder = await hold()
      holder.kill('SIGSTOP')
      await assert.rejects((await open()).lock(), /is in use by/)
      holder.kill('SIGCONT')
    })

    it('is given back by close, and may be taken again', async () => {
      const [one, other] = [await open(), await open()]
      await one.lock()
      await one.lock()
      await assert.rejects(other.lock(), new RegExp(`is in use by pid ${process.pid} on`))
      await one.close()
      assert.deepEqual(await readdir(folder), [])
      await other.lock()
    })

    it('goes to one of several that come at once upon what dead processes left', async () => {
      for (let round = 0; round < 10; round++) {
        await writeFile(join(folder, `lock.${randomUUID()}`), 'a socket once')
        const disks = await Promise.all(Array.from({ length: 5 }, () => open()))
        const outcomes = await Promise.allSettled(disks.map((disk) => disk.lock()))
        assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
        assert.equal((await readdir(folder)).length, 1)
        for (const disk of disks) await disk.close()
      }
    })
  })
})
