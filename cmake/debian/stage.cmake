# Run by CPack between installing and packing: what Debian asks of every package.
set(packages compiler vitqc runtime libvitq0 development libvitqc-dev
             python python3-vitqc)
string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)

function(gzip file)
  execute_process(COMMAND gzip -9n ${file} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

while(packages)
  list(POP_FRONT packages component package)
  set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/${component}/usr)
  set(doc ${root}/share/doc/${package})
  file(MAKE_DIRECTORY ${doc})
  file(COPY ${CMAKE_CURRENT_LIST_DIR}/copyright DESTINATION ${doc})
  file(WRITE ${doc}/changelog "vitqc (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium

  * Built from the sources of this version.

 -- ${CPACK_PACKAGE_CONTACT}  ${now}
")
  gzip(${doc}/changelog)
  file(GLOB_RECURSE pages ${root}/share/man/*)
  foreach(page ${pages})
    gzip(${page})
  endforeach()
endwhile()

# A compiler whose library comes with it.
set(overrides ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/compiler/usr/share/lintian/overrides)
file(WRITE ${overrides}/vitqc "vitqc: package-name-doesnt-match-sonames\n")

# In /usr the loader finds libraries by itself.
file(RPATH_REMOVE FILE ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/compiler/usr/bin/vitqc)
